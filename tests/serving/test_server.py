"""The real server over real HTTP, spoken to by the official OpenAI client and by people who mean it harm."""

import base64
import io
import re
import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import pytest
from engine_process import engine_replies
from openai.types.chat import ChatCompletion
from PIL import Image

from inbol_ray.config.machines import EngineConfig
from inbol_ray.models import DEFAULT_FAMILY
from inbol_ray.sampling.vllm_engine import Decoding
from tests.serving.conftest import KEY, MODEL, PLAIN, ask

DECISION = {"decision", "decided_by", "confidence", "signal", "threshold", "target_risk", "num_samples"}


@pytest.fixture
def image(scene_images) -> bytes:
    return Path(scene_images[0]).read_bytes()


def complete(server, body: dict, **dial) -> ChatCompletion:
    return server.client().chat.completions.create(**body, extra_body={"inbol": dial} if dial else None)


def test_the_official_client_gets_a_reply(server, image):
    reply = complete(server, ask("What color is the ring?", image))
    assert reply.object == "chat.completion" and reply.model == MODEL
    assert reply.choices[0].message.role == "assistant"
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens > 0
    assert reply.inbol.keys() == DECISION and 0 <= reply.inbol["confidence"] <= 1


def test_one_dial_answers_and_refuses_the_same_question(server, image):
    body = ask("What color is the ring?", image)
    answered = complete(server, body, threshold=0.0)
    assert answered.inbol["decision"] == "answered" and answered.choices[0].message.refusal is None
    refused = complete(server, body, threshold=1.0)
    assert refused.inbol["decision"] == "refused" and refused.inbol["decided_by"] == "dial"
    assert refused.choices[0].message.refusal == refused.choices[0].message.content != ""
    assert refused.inbol["confidence"] == answered.inbol["confidence"] < 1


def test_a_target_risk_takes_the_threshold_that_was_calibrated_for_it(server, image):
    body = ask("What color is the ring?", image)
    calibrated = server.client().models.retrieve(MODEL).inbol["calibrated"]["first_token"]["thresholds"]
    wanted = {entry["target_risk"]: entry["threshold"] for entry in calibrated}
    lax, strict = complete(server, body, target_risk=0.5), complete(server, body, target_risk=0.01)
    assert lax.inbol["decision"] == "answered" and lax.inbol["threshold"] == wanted[0.5]
    assert strict.inbol["decision"] == "refused" and strict.inbol["threshold"] is None is wanted[0.01]
    assert strict.inbol["target_risk"] == 0.01 and strict.inbol["decided_by"] == "dial"


def test_a_models_card_says_what_its_targets_hold_for_and_other_requests_are_told(server, image):
    card = server.client().models.retrieve(MODEL).inbol
    assert [(kind["dataset"], kind["num_images"]) for kind in card["calibrated_for"]] == [("vqav2", 1)]
    assert card["answer_suffix"] is False and card["system"] is None and card["not_calibrated_because"] == []
    with pytest.raises(openai.BadRequestError, match="about 1 image"):
        complete(server, ask("What color is the ring?"), target_risk=0.5)
    with pytest.raises(openai.BadRequestError, match="system message"):
        body = ask("What color is the ring?", image)
        body["messages"].insert(0, {"role": "system", "content": "Guess."})
        complete(server, body, target_risk=0.5)


def test_agreement_is_measured_on_samples(server, image):
    reply = complete(server, ask("What color is the ring?", image), signal="agreement", num_samples=4, threshold=0.0)
    assert reply.inbol["signal"] == "agreement" and reply.inbol["num_samples"] == 4
    assert reply.inbol["confidence"] * 4 == round(reply.inbol["confidence"] * 4)


def test_calibration_measures_what_the_server_reports(server, tiny_llava, scene_images):
    questions = [f"What color is the {shape}?" for shape in ("ring", "cross", "disc", "square")]
    rows = [
        {"prompt": DEFAULT_FAMILY.chat.prompt(q), "images": [path]}
        for q, path in zip(questions, scene_images[:4], strict=True)
    ]
    decoding = Decoding(max_tokens=8, force_first=True)
    measured = engine_replies(str(tiny_llava), rows, [0] * len(rows), EngineConfig(), decoding)
    for question, path, signal in zip(questions, scene_images[:4], measured, strict=True):
        reply = complete(server, ask(question, Path(path).read_bytes(), max_tokens=8), threshold=0.0)
        # A stream keeps back the bytes of a character that was never finished.
        assert reply.choices[0].message.content == signal.texts[0].rstrip("\N{REPLACEMENT CHARACTER}")
        assert reply.inbol["confidence"] == pytest.approx(signal.answer_probability, abs=1e-4)


@pytest.mark.parametrize("threshold", [None, 0.0, 1.0])
def test_a_stream_adds_up_to_the_whole_reply(server, image, threshold):
    dial = {} if threshold is None else {"threshold": threshold}
    body = ask("What color is the ring?", image)
    whole = complete(server, body, **dial)
    stream = server.client().chat.completions.create(
        **body, stream=True, stream_options={"include_usage": True}, extra_body={"inbol": dial}
    )
    chunks = list(stream)
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert "".join(delta.content or "" for delta in deltas).rstrip() == whole.choices[0].message.content
    assert "".join(delta.refusal or "" for delta in deltas) == (whole.choices[0].message.refusal or "")
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert chunks[-2].inbol == whole.inbol and chunks[-1].usage.prompt_tokens == whole.usage.prompt_tokens


def test_a_dialogue_and_a_question_without_image(server, image):
    messages = [
        ask("What color is the ring?", image)["messages"][0],
        {"role": "assistant", "content": "red"},
        {"role": "user", "content": "And the cross?"},
    ]
    assert server.post({"messages": messages}).status_code == 200
    assert server.post(ask("Who are you?")).status_code == 200


def test_a_system_turn_is_read_before_the_question(server, image):
    body = ask("What color is the ring?", image)
    plain, instructed = (
        server.post(body),
        server.post(body | {"messages": [{"role": "system", "content": "Answer in one word."}, *body["messages"]]}),
    )
    used = [reply.json()["usage"]["prompt_tokens"] for reply in (plain, instructed)]
    assert used[0] < used[1]


def test_a_seed_repeats_a_draw(server, image):
    """Beside other requests, whose prompts the engine fills in at the same time."""
    body = ask("What color is the ring?", image, temperature=1.5, max_tokens=16)

    def said(seed: int) -> str:
        return server.post(body | {"seed": seed}).json()["choices"][0]["message"]["content"]

    with ThreadPoolExecutor(8) as pool:
        drawn = list(pool.map(said, [1, 2, 3, 4] * 4))
    assert drawn[:4] * 4 == drawn and len(set(drawn)) > 1


def test_models_health_and_metrics(server, image):
    assert [model.id for model in server.client().models.list()] == [MODEL, PLAIN]
    assert server.client().models.retrieve(MODEL).id == MODEL
    assert httpx.get(f"{server.url}/healthz").status_code == 200
    ready = httpx.get(f"{server.url}/readyz", timeout=30)
    assert ready.status_code == 200 and ready.json() == {"ready": True, "models": {MODEL: True, PLAIN: True}}
    complete(server, ask("What?", image))
    deadline = time.monotonic() + 60  # Ray hands metrics on from time to time
    while not server.metric("inbol_requests_total", model=MODEL, status="200"):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert server.metric("inbol_replies_total", model=MODEL) and server.metric("inbol_request_seconds_count")


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer wrong", f"Basic {KEY}", KEY, f"Bearer {KEY}x"])
def test_a_wrong_key_is_refused(server, authorization):
    headers = {} if authorization is None else {"Authorization": authorization}
    response = httpx.get(f"{server.url}/v1/models", headers=headers)
    assert response.status_code == 401 and response.json()["error"]["type"] == "authentication_error"


def test_the_official_client_raises_its_own_errors(server):
    with pytest.raises(openai.AuthenticationError):
        server.client().with_options(api_key="wrong").chat.completions.create(**ask("What?"))
    with pytest.raises(openai.NotFoundError):
        server.client().chat.completions.create(**(ask("What?") | {"model": "gpt-4"}))
    with pytest.raises(openai.BadRequestError, match="no calibration"):
        complete(server, ask("What?") | {"model": PLAIN}, target_risk=0.1)
    with pytest.raises(openai.BadRequestError, match="greedy replies"):
        complete(server, ask("What?", temperature=1.0), target_risk=0.5)


def png(width: int, height: int) -> bytes:
    """A PNG of one colour whose header says width x height; a few kilobytes whatever its size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(b"\0" * min(width * height, 1 << 20), 9))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


def jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, "JPEG")
    return buffer.getvalue()


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
BAD_IMAGES = {
    "empty": b"",
    "text": b"not an image",
    "svg": SVG,
    "truncated": jpeg()[:200],
    "bomb": png(20_000, 20_000),
    "giant": png(2**31 - 1, 2**31 - 1),
    "strip": png(4_000_000, 1),
}


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_a_bad_image_is_the_clients_fault(server, name):
    check_refused(server.post(ask("What?", BAD_IMAGES[name])), 400)


BAD_URLS = [
    "http://127.0.0.1/a.png",
    "http://169.254.169.254/latest/meta-data",
    "http://[::1]/a.png",
    "https://example.com/a.png",
    "file:///etc/passwd",
    "/etc/passwd",
    "gopher://127.0.0.1/",
    "data:text/html;base64,PGI+",
    "data:image/svg+xml;base64," + base64.b64encode(SVG).decode(),
    "data:image/png;base64,%%%",
    "data:image/png,raw",
    "",
]


@pytest.mark.parametrize("url", BAD_URLS)
def test_a_url_outside_the_list_is_refused(server, url):
    body = ask("What?")
    body["messages"][0]["content"].append({"type": "image_url", "image_url": {"url": url}})
    check_refused(server.post(body), 400)


BAD_BODIES = {
    "no JSON": b"{",
    "surrogate": b'{"messages": [{"role": "user", "content": "\\ud800"}]}',
    "nested": b"[" * 100_000,
    "NaN": b'{"temperature": NaN, "messages": [{"role": "user", "content": "a"}]}',
    "list": b"[]",
    "huge number": b'{"max_tokens": 1' + b"0" * 5000 + b', "messages": [{"role": "user", "content": "a"}]}',
    "n": ask("What?", n=5),
    "unknown field": ask("What?", mm_processor_kwargs={}),
    "late system": {"messages": [{"role": "user", "content": "What?"}, {"role": "system", "content": "Obey"}]},
    "system only": {"messages": [{"role": "system", "content": "Obey"}]},
    "image in system": {
        "messages": [{**ask("Obey", jpeg())["messages"][0], "role": "system"}, *ask("What?")["messages"]]
    },
    "seed": ask("What?", seed=2**64),
    "empty stop": ask("What?", stop=""),
    "empty stop in a list": ask("What?", stop=["a", ""]),
    "long": ask("word " * 5000),
    "both dials": ask("What?", inbol={"target_risk": 0.1, "threshold": 0.5}),
    "two images": {"messages": [{"role": "user", "content": 2 * ask("", jpeg())["messages"][0]["content"][1:]}]},
    "late image": {
        "messages": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"},
            ask("c", jpeg())["messages"][0],
        ]
    },
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_bad_body_is_the_clients_fault(server, name):
    check_refused(server.post(BAD_BODIES[name]), 400)


def test_a_large_body_is_refused_whether_it_says_so_or_not(server):
    check_refused(server.post(b"x" * (13 << 20)), 413)
    chunks = (b"x" * (1 << 20) for _ in range(13))
    headers = {"Authorization": f"Bearer {KEY}"}
    check_refused(httpx.post(f"{server.url}/v1/chat/completions", content=chunks, headers=headers, timeout=60), 413)


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nope", 404), ("GET", "/v1/chat/completions", 405)])
def test_other_paths_fail_in_the_same_dialect(server, method, path, status):
    check_refused(httpx.request(method, server.url + path), status)


def test_the_log_holds_no_key_and_no_prompt(server, image):
    server.post(ask("Is xyzzy-secret-question here?", image))
    logs = [path for path in server.ray_folder.glob("**/logs/**/*") if path.is_file()]
    assert any("replica_inbol_server" in path.name for path in logs)
    text = server.log.read_text() + "".join(path.read_text(errors="replace") for path in logs)
    assert "xyzzy-secret" not in text and KEY not in text


def check_refused(response: httpx.Response, status: int) -> None:
    """An OpenAI-style error that tells nothing of the server's inside."""
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"} and error["message"] and error["code"] == status
    assert not re.search(r"/(tmp|root|home|usr|work)/|site-packages|Traceback|0x[0-9a-f]{6,}|\.py\b", response.text)
