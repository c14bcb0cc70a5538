"""What is sent, and what is read from what comes back."""

import base64
import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image

from inbol_ray.config.endpoint import EndpointConfig
from inbol_ray.endpoints.waiting import FIRST_BACKOFF_S, LONGEST_RETRY_AFTER_S, retry_delay_s
from inbol_ray.endpoints.wire import Chat, MalformedReplyError, chat_body, chat_messages, read_error, read_reply
from inbol_ray.images import ImageError
from inbol_ray.sampling.vllm_engine import Decoding

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def write_image(folder, kind: str, size=(5, 3)) -> str:
    path = folder / f"image.{kind.lower()}"
    Image.new("RGB", size, (200, 30, 30)).save(path, kind)
    return str(path)


def reply_body(message: dict, finish: str = "stop", **fields) -> bytes:
    return json.dumps({"choices": [{"message": message, "finish_reason": finish}]} | fields).encode()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_images_go_as_they_are_on_disk(tmp_path, kind):
    path = write_image(tmp_path, kind)
    (message,) = chat_messages(Chat("What is it?", [path]))
    image, text = message["content"]
    head, _, data = image["image_url"]["url"].partition(",")
    assert head == f"data:image/{kind.lower()};base64"
    assert base64.b64decode(data) == Path(path).read_bytes()
    assert text == {"type": "text", "text": "What is it?"}


def test_another_format_goes_as_png_of_the_same_pixels(tmp_path):
    (message,) = chat_messages(Chat("?", [write_image(tmp_path, "BMP")]))
    head, _, data = message["content"][0]["image_url"]["url"].partition(",")
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert (head, image.format, image.size) == ("data:image/png;base64", "PNG", (5, 3))
    assert image.getpixel((4, 2)) == (200, 30, 30)


def test_a_file_that_is_no_image_is_named(tmp_path):
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(ImageError, match=r"text\.png: not a readable image"):
        chat_messages(Chat("?", [str(tmp_path / "text.png")]))


def test_the_request_is_greedy_and_keeps_the_endpoints_own_fields():
    endpoint = EndpointConfig(url="http://h/v1", model="m", extra_body={"add_special_tokens": True})
    assert chat_body(endpoint, chat_messages(Chat("Why?", system="Be short.")), Decoding(max_tokens=7)) == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Why?"}],
        "temperature": 0,
        "max_tokens": 7,
        "logprobs": True,
        "add_special_tokens": True,
    }


def test_a_reply_is_read_with_its_tokens():
    logprobs = {"content": [{"token": "a", "logprob": -0.5}, {"token": "b", "logprob": -1}]}
    choice = {"message": {"content": " A cat.\n"}, "finish_reason": "length", "logprobs": logprobs}
    reply = read_reply(
        json.dumps({"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}).encode()
    )
    assert (reply.texts, reply.token_logprobs, reply.finish) == (["A cat."], [[-0.5, -1.0]], "length")
    assert (reply.input_tokens, reply.output_tokens) == (9, 2)


@pytest.mark.parametrize(
    ("message", "finish", "text", "told"),
    [
        ({"content": None, "refusal": "I won't."}, "stop", "I won't.", "refusal"),
        ({"content": "Sorry.", "refusal": "Sorry."}, "stop", "Sorry.", "refusal"),
        ({"content": None}, "content_filter", "", "refusal"),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "stop", "ab", "stop"),
        ({"content": None}, "length", "", "length"),
        ({"content": "x"}, "tool_calls", "x", ""),
    ],
)
def test_refusals_that_the_server_tells_and_other_ends(message, finish, text, told):
    reply = read_reply(reply_body(message, finish))
    assert (reply.texts, reply.finish, reply.input_tokens) == ([text], told, None)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"choices": []}', b'{"choices": [{}]}', b"\xff"])
def test_what_is_no_completion_is_said_so(body):
    with pytest.raises(MalformedReplyError, match="no chat completion"):
        read_reply(body)


@pytest.mark.parametrize("value", ["null", '"x"', "-Infinity"])
def test_logprobs_that_are_not_all_numbers_are_left_out(value):
    logprobs = f'{{"content": [{{"logprob": -1}}, {{"logprob": {value}}}]}}'
    body = f'{{"choices": [{{"message": {{"content": "a"}}, "logprobs": {logprobs}}}]}}'
    assert read_reply(body.encode()).token_logprobs == [[]]


@pytest.mark.parametrize(
    ("body", "words", "code"),
    [
        (b'{"error": {"message": "too\\n  long", "code": "context_length"}}', "too long", "context_length"),
        (b'{"message": "flat", "code": 400}', "flat", "400"),
        (b'{"error": "plain"}', "plain", ""),
        (b'{"detail": [{"loc": ["body"]}]}', "[{'loc': ['body']}]", ""),
        (b"[1]", "[1]", ""),
        (b"Bad Gateway", "Bad Gateway", ""),
        (b"", "no words", ""),
        (b"x" * 1000, "x" * 300 + "...", ""),
    ],
)
def test_error_words_of_any_server(body, words, code):
    assert read_error(body) == (words, code)


@pytest.mark.parametrize(
    ("retry_after", "least"),
    [
        ("7", 7),
        ("0.5", 0.5),
        ("-3", 0),
        ("Thu, 01 Jan 2026 00:02:00 GMT", 120),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 0),
        ("99999", LONGEST_RETRY_AFTER_S),
        ("inf", LONGEST_RETRY_AFTER_S),
    ],
)
def test_retry_after_is_honoured_in_seconds_and_as_a_date(retry_after, least):
    for _ in range(20):
        assert least <= retry_delay_s(5, retry_after, NOW) <= least + FIRST_BACKOFF_S


@pytest.mark.parametrize("retry_after", [None, "soon", "nan", ""])
def test_without_it_the_wait_doubles_up_to_a_minute(retry_after):
    for attempt, whole in ((0, 0.5), (1, 1), (3, 4), (6, 32), (7, 60), (40, 60)):
        for _ in range(20):
            assert whole / 2 <= retry_delay_s(attempt, retry_after, NOW) <= whole
