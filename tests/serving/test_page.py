"""The page at `/` in a real headless browser: keyboard and mouse, the dial, and nothing fetched from elsewhere."""

import os
import shutil

import httpx
import pytest

from tests.serving.conftest import KEY, PLAIN

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def browser():
    if BROWSER is None:
        pytest.skip("needs Chromium (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def page(browser, server):
    page = browser.new_page(viewport={"width": 1000, "height": 760})
    page.requested, page.complaints = [], []
    page.on("request", lambda request: page.requested.append(request.url))
    page.on("console", lambda message: page.complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.goto(server.url)
    page.get_by_label("API key").fill(KEY)
    page.get_by_label("API key").press("Tab")
    page.locator("#model option").first.wait_for(state="attached")
    page.complaints.clear()  # the browser reports the 401 that makes the page ask for a key
    yield page
    page.close()


def ask(page, image: str, question: str = "What color is the ring?") -> None:
    page.get_by_label("Image", exact=True).set_input_files(image)
    page.get_by_label("Question").fill(question)
    page.get_by_label("Question").press("Enter")
    page.locator("#reply").wait_for(state="visible")


def move_dial(page, value: int) -> None:
    with page.expect_response("**/v1/chat/completions"):
        page.get_by_label("Dial", exact=True).fill(str(value))
    page.locator("#result:not([aria-busy])").wait_for()


def test_moving_the_dial_changes_the_decision(page, server, scene_images):
    ask(page, scene_images[0])
    with page.expect_response("**/v1/chat/completions"):
        page.get_by_label("Least confidence").check()
    move_dial(page, 0)
    assert "Answered" in page.locator("#verdict").inner_text()
    assert "needed 0.0%" in page.locator("#numbers").inner_text()
    move_dial(page, 100)
    assert "Refused" in page.locator("#verdict").inner_text()
    assert "the dial decided" in page.locator("#numbers").inner_text()
    assert "Sorry" in page.locator("#words").inner_text()
    assert not page.complaints
    assert all(url.startswith((server.url, "data:")) for url in page.requested)
    if folder := os.environ.get("INBOL_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/serving_page.png", full_page=True)


def test_an_error_rate_can_be_chosen_where_the_model_is_calibrated(page, scene_images):
    ask(page, scene_images[0])
    with page.expect_response("**/v1/chat/completions"):
        page.get_by_label("Largest error rate").check()
    move_dial(page, 100)
    assert "At most 50% of the answers may be wrong" in page.locator("#slider-text").inner_text()
    assert "Answered" in page.locator("#verdict").inner_text()
    move_dial(page, 2)
    assert "Refused" in page.locator("#verdict").inner_text()
    assert "no confidence is enough for so small an error rate" in page.locator("#numbers").inner_text()
    page.get_by_label("Model", exact=True).select_option(PLAIN)
    assert page.get_by_label("Largest error rate").is_disabled()
    assert "has not been calibrated" in page.locator("#risk-hint").inner_text()


def test_an_image_can_be_dropped(page):
    transfer = page.evaluate_handle(
        """() => {
        const canvas = document.createElement('canvas'); canvas.width = canvas.height = 8;
        const bytes = atob(canvas.toDataURL('image/png').split(',')[1]);
        const data = new DataTransfer();
        data.items.add(new File([Uint8Array.from(bytes, c => c.charCodeAt(0))], 'a.png', {type: 'image/png'}));
        return data; }"""
    )
    page.locator("#drop").dispatch_event("drop", {"dataTransfer": transfer})
    page.locator("#preview").wait_for(state="visible")
    page.get_by_label("Question").fill("What?")
    page.get_by_role("button", name="Ask").click()
    page.locator("#reply").wait_for(state="visible")


def test_an_error_is_said_where_readers_hear_it(page, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    page.get_by_label("Image", exact=True).set_input_files(str(broken))
    page.get_by_label("Question").fill("What?")
    page.get_by_role("button", name="Ask").click()
    page.get_by_role("alert").filter(has_text="not a readable image").wait_for()


def test_every_control_has_a_name_and_can_be_reached_by_keyboard(page):
    controls = page.locator("input:visible, select:visible, button:visible")
    for control in controls.all():
        assert control.evaluate("e => (e.labels && e.labels.length) || e.ariaLabel || e.textContent.trim()")
    reached = set()
    for _ in range(15):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.type"))
    assert {"file", "question", "submit", "model", "radio", "signal"} <= reached
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_policy_allows_the_pages_own_script_only(server):
    response = httpx.get(server.url)
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert "http://" not in response.text and "https://" not in response.text
