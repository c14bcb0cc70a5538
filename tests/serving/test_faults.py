"""Load and faults on the real server: full queues, hang-ups, dying engines and replicas, roll-outs, draining."""

import asyncio
import os
import signal
import time
from collections import Counter
from pathlib import Path

import httpx
import openai
import psutil
import pytest

from tests.serving.conftest import KEY, MODEL, ask, running_server

HEADERS = {"Authorization": f"Bearer {KEY}"}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pair(tmp_path_factory, tiny_llava):
    """Two replicas behind one address."""
    replicas = ["--serving.min_replicas", "2", "--serving.max_replicas", "2"]
    with running_server(tmp_path_factory.mktemp("pair"), tiny_llava, *replicas) as server:
        yield server


@pytest.fixture(scope="module")
def narrow(tmp_path_factory, tiny_llava):
    """One request at a time and two in the queue."""
    options = ["--serving.max_ongoing", "1", "--serving.max_queued", "2", "--serving.request_timeout_s", "20"]
    with running_server(tmp_path_factory.mktemp("narrow"), tiny_llava, *options) as server:
        yield server


def processes(server, name: str) -> list[psutil.Process]:
    """Processes of this server whose command line holds `name`."""
    found = []
    for process in psutil.Process(server.process.pid).children(recursive=True):
        try:
            if name in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


async def steady_load(server, image: bytes, seconds: float, fault, workers: int = 6) -> Counter:
    """Outcomes of requests that clients with the documented retry send while `fault()` happens a third of the way in."""
    client = openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=8, timeout=60)
    outcomes: Counter = Counter()
    end = time.monotonic() + seconds

    async def ask_on(worker: int) -> None:
        number = 0
        while time.monotonic() < end:
            number += 1
            body = ask(f"What is {worker} {number}?", image, max_tokens=4)
            try:
                await client.chat.completions.create(**body, extra_body={"inbol": {"threshold": 0.0}})
                outcomes["answered"] += 1
            except openai.APIError as error:
                outcomes[f"{type(error).__name__}: {error}"] += 1

    async def break_something() -> None:
        await asyncio.sleep(seconds / 3)
        await asyncio.to_thread(fault)

    await asyncio.gather(break_something(), *(ask_on(worker) for worker in range(workers)))
    return outcomes


def wait_until_ready(server, timeout_s: float = 200) -> None:
    deadline = time.monotonic() + timeout_s
    while httpx.get(f"{server.url}/readyz", timeout=60).status_code != 200:
        assert time.monotonic() < deadline, server.log.read_text()[-2000:]
        time.sleep(0.5)


def wait_for_two(server, name: str) -> list[psutil.Process]:
    """Two live processes of that name, once there are two: a dead one's successor takes a while."""
    deadline = time.monotonic() + 200
    while len(found := [p for p in processes(server, name) if p.status() != "zombie"]) < 2:
        assert time.monotonic() < deadline, f"one {name} was not replaced"
        time.sleep(0.5)
    return found


@pytest.mark.parametrize("victim", ["ServeReplica:inbol:server", "VLLM::EngineCore"])
def test_with_two_replicas_and_the_documented_retry_nothing_is_lost(pair, scene_images, victim):
    wait_until_ready(pair)
    image = Path(scene_images[0]).read_bytes()
    found = wait_for_two(pair, victim)
    outcomes = asyncio.run(steady_load(pair, image, 15, found[0].kill))
    print("\n", victim, dict(outcomes))
    assert outcomes.keys() == {"answered"} and outcomes["answered"] > 50
    wait_for_two(pair, victim)


def test_a_new_version_is_rolled_out_under_load(tmp_path, tiny_llava, scene_images):
    """SIGHUP with a new configuration: one replica, nothing lost, and the new dial holds afterwards."""
    image = Path(scene_images[0]).read_bytes()
    extra = tmp_path / "extra.yaml"
    extra.write_text("name: first\n")
    with running_server(tmp_path, tiny_llava, "--config", str(extra)) as server:

        def roll_out() -> None:
            extra.write_text(f"serving: {{models: {{{MODEL}: {{threshold: 0.75}}}}}}\n")
            os.kill(server.process.pid, signal.SIGHUP)
            deadline = time.monotonic() + 200
            while "Rolled over" not in server.log.read_text():
                assert time.monotonic() < deadline
                time.sleep(0.5)

        outcomes = asyncio.run(steady_load(server, image, 30, roll_out))
        print("\nroll-out:", dict(outcomes))
        assert outcomes.keys() == {"answered"}
        assert server.post(ask("What?", image)).json()["inbol"]["threshold"] == 0.75
        extra.write_text("serving: {max_queued: 0}\n")
        os.kill(server.process.pid, signal.SIGHUP)
        deadline = time.monotonic() + 60
        while "goes on as before" not in server.log.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert server.post(ask("What?", image)).status_code == 200


def test_without_retry_a_fault_is_clean_and_readiness_is_never_a_lie(server, scene_images):
    """One engine: kill it. Every reply is a success or a retryable error, and `ready` is followed by an answer."""
    image = Path(scene_images[0]).read_bytes()
    wait_until_ready(server)
    killed = processes(server, "VLLM::EngineCore")
    for core in killed:
        core.kill()
    statuses, lies = Counter(), 0
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        time.sleep(1.1)  # longer than a readiness answer is kept
        # With no replica left, requests wait for the next one.
        ready = httpx.get(f"{server.url}/readyz", timeout=200).status_code == 200
        response = server.post(ask("What?", image, max_tokens=2), timeout=200)
        statuses[response.status_code] += 1
        lies += ready and response.status_code != 200
        if response.status_code == 503:
            assert response.headers["retry-after"] and response.json()["error"]["type"] == "server_error"
        if ready and response.status_code == 200:
            break
    print("\nwithout retry:", dict(statuses))
    # 500 is HAProxy's, for a connection that broke under the request.
    assert statuses.keys() <= {200, 500, 503, 504} and statuses[200] and lies == 0
    assert killed and not {core.pid for core in killed} & {core.pid for core in processes(server, "VLLM::EngineCore")}


def test_a_full_queue_says_when_to_come_back(narrow, scene_images):
    image = Path(scene_images[0]).read_bytes()

    async def flood() -> list[httpx.Response]:
        async with httpx.AsyncClient(headers=HEADERS, timeout=60) as client:
            body = ask("What?", image, max_tokens=100)
            return await asyncio.gather(
                *(client.post(f"{narrow.url}/v1/chat/completions", json=body) for _ in range(40))
            )

    replies = asyncio.run(flood())
    counts = Counter(reply.status_code for reply in replies)
    print("\nflood of 40:", dict(counts))
    assert counts.keys() == {200, 429} and counts[429] > 10
    for reply in replies:
        if reply.status_code == 429:
            assert int(reply.headers["retry-after"]) >= 1 and reply.json()["error"]["type"] == "rate_limit_error"
    client = narrow.client(max_retries=20)
    assert client.chat.completions.create(**ask("What?", image)).choices


def test_a_hang_up_cancels_the_generation(narrow, scene_images):
    """A hundred clients hang up on long replies; the engine, which works on one at a time, is free at once."""
    image = Path(scene_images[0]).read_bytes()
    body = ask("What?", image, max_tokens=180)
    for _ in range(20):
        try:
            httpx.post(
                f"{narrow.url}/v1/chat/completions", json=body, headers=HEADERS, timeout=httpx.Timeout(5, read=0.05)
            )
        except httpx.ReadTimeout:
            continue
    with httpx.stream(
        "POST", f"{narrow.url}/v1/chat/completions", json=body | {"stream": True}, headers=HEADERS
    ) as reply:
        next(reply.iter_lines())
    deadline = time.monotonic() + 20
    while narrow.metric("inbol_ongoing_requests") > 0 or not narrow.metric("inbol_requests_total", status="499"):
        assert time.monotonic() < deadline, "requests of clients that have gone are still worked on"
        time.sleep(0.1)
    assert narrow.post(body).status_code == 200


def test_stopping_lets_requests_in_flight_end(tmp_path, tiny_llava, scene_images):
    image = Path(scene_images[0]).read_bytes()
    with running_server(tmp_path, tiny_llava) as server:

        async def stop_under_load() -> list:
            async with httpx.AsyncClient(headers=HEADERS, timeout=60) as client:
                body = ask("What?", image, max_tokens=150)
                url = f"{server.url}/v1/chat/completions"
                asked = [asyncio.create_task(client.post(url, json=body)) for _ in range(12)]
                await asyncio.sleep(0.25)
                os.kill(server.process.pid, signal.SIGTERM)
                return await asyncio.gather(*asked, return_exceptions=True)

        replies = asyncio.run(stop_under_load())
        print("\nstopped:", Counter(getattr(r, "status_code", repr(r)[:80]) for r in replies))
        assert all(isinstance(reply, httpx.Response) and reply.status_code == 200 for reply in replies)
        assert server.process.wait(90) == 0
