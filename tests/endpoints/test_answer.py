"""A real server that fails in every way: what is retried, what is kept, and where the key goes."""

import json
import multiprocessing
import threading

import pyarrow as pa
import pytest
from chat_server import chat_server, completion, question_of

from inbol_ray.config.endpoint import EndpointConfig
from inbol_ray.config.machines import StorageConfig
from inbol_ray.endpoints.answer import BLOCK_SIZE, answer_requests
from inbol_ray.endpoints.client import read_api_key
from inbol_ray.errors import ConfigError, EndpointError
from inbol_ray.sampling.parts import list_parts
from inbol_ray.sampling.vllm_engine import Decoding

KEY = "canary-5f2b9c"
VARIABLE = "TEST_ENDPOINT_KEY"


def requests(count: int) -> pa.Table:
    columns = {
        "key": [f"k{n}" for n in range(count)],
        "id": [f"own:test:{n}" for n in range(count)],
        "checkpoint": ["m"] * count,
        "user": [f"question {n}" for n in range(count)],
        "system": pa.array([None] * count, pa.string()),
        "images": pa.array([[]] * count, pa.list_(pa.string())),
    }
    return pa.table(columns)


def echo(_number: int, body: dict):
    return 200, completion(f"re: {question_of(body)}")


@pytest.fixture
def answer(tmp_path):
    """Asks `count` questions; returns replies by key, failures by key, and the seconds that it would have slept."""

    def run(url: str, count: int = 10, **settings):
        slept = []

        async def sleep(seconds: float) -> None:
            slept.append(seconds)

        endpoint = EndpointConfig(url=url, model="m", **({"max_retries": 3, "max_concurrency": 4} | settings))
        try:
            failures = answer_requests(
                requests(count), endpoint, Decoding(), StorageConfig(), folder=str(tmp_path), unit="", sleep=sleep
            )
        finally:
            run.slept = slept
        return stored(tmp_path), failures

    return run


def stored(folder) -> dict[str, dict]:
    replies = {}
    for parts in list_parts(str(folder), StorageConfig()):
        for block in range(parts.num_blocks):
            keys = parts.read_requests(block)["key"].to_pylist()
            done = block in parts.finished()
            rows = enumerate(parts.read_block(block).to_pylist()) if done else ()
            saved = () if done else ((row["row"], row) for row in parts.read_saved(block).to_pylist())
            replies |= {keys[number]: row for number, row in [*rows, *saved]}
    return replies


def texts(replies: dict[str, dict]) -> dict[str, str]:
    return {key: row["responses"][0] for key, row in replies.items()}


def expected(count: int) -> dict[str, str]:
    return {f"k{n}": f"re: question {n}" for n in range(count)}


def test_every_question_is_asked_once_within_the_concurrency(answer):
    count = BLOCK_SIZE + 5
    with chat_server(echo) as server:
        replies, _ = answer(server.url, count, max_concurrency=3)
    assert texts(replies) == expected(count)
    assert sorted(server.asked) == sorted(f"question {n}" for n in range(count))
    assert 1 <= server.most_at_once <= 3
    assert set(server.paths) == {"/v1/chat/completions"}
    assert {(row["finish"], row["input_tokens"], row["output_tokens"]) for row in replies.values()} == {("stop", 10, 2)}


@pytest.mark.parametrize("fault", ["500", "503", "429", "408", "409", "json", "empty", "break"])
def test_a_server_that_fails_every_third_request(answer, fault):
    def behave(number, body):
        if number % 3:
            return echo(number, body)
        if fault == "break":
            raise ConnectionError
        if fault in ("json", "empty"):
            return 200, {"json": b"{'choices'", "empty": b"{}"}[fault]
        return int(fault), {"error": {"message": "try later"}}

    with chat_server(behave) as server:
        replies, failures = answer(server.url, 12, max_retries=20)
    assert (texts(replies), failures) == (expected(12), {})
    assert len(server.bodies) == 12 + len(answer.slept) and len(answer.slept) >= 6


def test_retry_after_is_waited_for(answer):
    def behave(number, body):
        return (429, {}, {"Retry-After": "17"}) if number == 0 else echo(number, body)

    with chat_server(behave) as server:
        replies, _ = answer(server.url, 1)
    assert texts(replies) == expected(1)
    (waited,) = answer.slept
    assert 17 <= waited <= 17.5


def test_a_slow_response_is_tried_again(answer):
    release = threading.Event()

    def behave(number, body):
        if number == 0:
            release.wait(30)
        return echo(number, body)

    with chat_server(behave) as server:
        replies, _ = answer(server.url, 1, timeout_s=0.3)
        release.set()
    assert texts(replies) == expected(1) and len(server.bodies) == 2


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_rejected_question_keeps_its_reason_and_the_others_their_replies(answer, status):
    def behave(number, body):
        if question_of(body) == "question 3":
            return status, {"error": {"message": "the image is too large"}}
        return echo(number, body)

    with chat_server(behave) as server:
        replies, failures = answer(server.url)
    rejected = replies.pop("k3")
    assert (rejected["reason"], rejected["responses"], failures) == ("request_rejected", [], {})
    assert rejected["detail"] == f"the server rejected the question with status {status}: the image is too large"
    assert len(texts(replies)) == 9 and len(server.bodies) == 10


def test_a_prompt_that_the_servers_filter_refuses_is_a_refusal(answer):
    with chat_server(lambda *_: (400, {"error": {"message": "filtered", "code": "content_filter"}})) as server:
        replies, _ = answer(server.url, 1)
    assert (replies["k0"]["responses"], replies["k0"]["finish"], replies["k0"]["reason"]) == ([""], "refusal", "")


@pytest.mark.parametrize(
    ("status", "says"), [(401, "missing or wrong"), (402, "no credit"), (403, "may not use"), (404, "no such model")]
)
def test_what_concerns_every_question_stops_the_run_at_once(answer, status, says):
    with (
        chat_server(lambda *_: (status, {"error": {"message": "go away"}})) as server,
        pytest.raises(EndpointError, match=f"^m at http.*{says}.*status {status}: go away"),
    ):
        answer(server.url, 50, max_concurrency=2)
    assert len(server.bodies) <= 2 and answer.slept == []


def test_a_redirect_is_not_followed(answer):
    with (
        chat_server(lambda *_: (307, {}, {"Location": "http://127.0.0.1:1/v1"})) as server,
        pytest.raises(EndpointError, match="redirects"),
    ):
        answer(server.url, 1)


def test_one_question_without_reply_stops_the_run_after_the_others(answer):
    def behave(number, body):
        return (500, {"error": "boom"}) if question_of(body) == "question 3" else echo(number, body)

    with chat_server(behave) as server:
        with pytest.raises(EndpointError, match=r"1 of 10 questions .* 4 tries, first own:test:3: status 500: boom"):
            answer(server.url)
        assert len(server.bodies) == 13
        _, failures = answer(server.url, keep_failures=True)
    assert failures == {"k3": "status 500: boom"} and len(server.bodies) == 17
    assert set(server.asked[13:]) == {"question 3"}  # the others were stored


def test_a_server_that_is_down_is_not_asked_every_question(answer):
    with (
        chat_server(lambda *_: (503, {})) as server,
        pytest.raises(EndpointError, match="3 questions in a row"),
    ):
        answer(server.url, 100, max_retries=1, max_concurrency=1, keep_failures=True)
    assert len(server.bodies) == 6
    with pytest.raises(EndpointError, match="ClientConnectorError"):
        answer(server.url, 3, max_retries=0)


@pytest.mark.parametrize(
    ("status", "words", "field"),
    [
        (400, "logprobs: this field is not supported", "logprobs"),
        (403, "You are not allowed to request logprobs from this model.", "logprobs"),
        (400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", "max_tokens"),
    ],
)
def test_a_field_that_the_server_does_not_know_is_left_out_from_then_on(answer, status, words, field):
    def behave(number, body):
        return (status, {"error": {"message": words}}) if field in body else echo(number, body)

    with chat_server(behave) as server:
        replies, _ = answer(server.url, 6, max_concurrency=1)
    assert texts(replies) == expected(6) and len(server.bodies) == 7 and answer.slept == []
    last = server.bodies[-1]
    assert last.get("max_tokens", last.get("max_completion_tokens")) == 16


def test_requests_are_spread_over_the_minute(answer):
    with chat_server(echo) as server:
        answer(server.url, 5, requests_per_minute=0.01, max_concurrency=5)
    assert len(answer.slept) == 4  # the first needs no wait; each of the others waits for its turn
    for number, waited in enumerate(sorted(answer.slept), start=1):
        assert 6000 * number - 60 < waited <= 6000 * number


def _answer_in_a_process(url: str, folder: str, count: int, concurrency: int) -> None:
    endpoint = EndpointConfig(url=url, model="m", max_concurrency=concurrency)
    answer_requests(requests(count), endpoint, Decoding(), StorageConfig(), folder=folder, unit="")


def test_a_killed_run_goes_on_without_asking_twice(answer, tmp_path):
    """Killed while the server sits on a question: what it replied before was stored before."""
    reached, release = threading.Event(), threading.Event()
    last = BLOCK_SIZE + 6  # in the second block

    def behave(number, body):
        if number == last:
            reached.set()
            release.wait(60)
        return echo(number, body)

    count = BLOCK_SIZE + 12
    with chat_server(behave) as server:
        child = multiprocessing.get_context("spawn").Process(
            target=_answer_in_a_process, args=(server.url, str(tmp_path), count, 1)
        )
        child.start()
        assert reached.wait(60)
        child.kill()
        child.join()
        release.set()
        assert len(stored(tmp_path)) == last
        replies, _ = answer(server.url, count)
    assert texts(replies) == expected(count)
    twice = {text for text in server.asked if server.asked.count(text) > 1}
    assert twice == {f"question {last}"} and len(server.asked) == count + 1


@pytest.mark.parametrize("status", [200, 400, 401, 500])
def test_the_key_goes_to_the_server_and_nowhere_else(answer, tmp_path, monkeypatch, capfd, caplog, status):
    """A server that repeats the key in what it says."""
    monkeypatch.setenv(VARIABLE, KEY)

    def behave(number, body):
        # The second copy stands where a shortened message ends.
        message = f"bad request with key {KEY} ".ljust(295) + KEY
        return (200, f"no JSON {KEY}".encode()) if status == 200 else (status, {"error": {"message": message}})

    said = ""
    with chat_server(behave) as server:
        try:
            answer(server.url, 2, api_key_env=VARIABLE, max_retries=0)
        except EndpointError as error:
            said = repr(error) + str(error.__cause__) + str(error)
    assert {headers["Authorization"] for headers in server.headers} == {f"Bearer {KEY}"}
    assert said or status == 400
    kept = json.dumps(stored(tmp_path)) + said + "".join(capfd.readouterr()) + caplog.text
    assert "[API key]" in kept and KEY[:4] not in kept and KEY not in json.dumps(server.bodies)
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes()


@pytest.mark.parametrize(("value", "match"), [(None, "is not set"), (" ", "is not set"), ("a\nb", "line break")])
def test_a_key_that_is_none_is_a_config_error(monkeypatch, value, match):
    monkeypatch.delenv(VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(ConfigError, match=f"{VARIABLE} .*{match}|{VARIABLE} {match}"):
        read_api_key(EndpointConfig(url="http://h/v1", model="m", api_key_env=VARIABLE))
