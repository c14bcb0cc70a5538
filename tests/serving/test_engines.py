"""What the engines of one replica share: GPUs, places for requests, and their end. The engine here is scripted."""

import asyncio
import os

import pytest

from inbol_ray.config.machines import EngineConfig
from inbol_ray.config.serving import ServedModel, ServingConfig
from inbol_ray.images import CLIP_COLOUR
from inbol_ray.sampling.chat_engine import EngineDead, Piece, ReplyOptions
from inbol_ray.serving import engines
from inbol_ray.serving.answer import Rule, Text, Work
from inbol_ray.serving.engines import Engines, own_devices
from inbol_ray.serving.schema import RequestError

WORK = Work("USER: What? ASSISTANT:", (), ReplyOptions(8), Rule())


class HeldEngine:
    """Writes a first word, and the second once it is let go; dead when told so."""

    pad_colour = CLIP_COLOUR

    def __init__(self, *_settings) -> None:
        self.let_go, self.dead = asyncio.Event(), False
        self.num_started = self.num_left = 0

    async def write(self, prompt, options, *, stream):
        if self.dead:
            raise EngineDead("dead")
        self.num_started += 1
        try:
            yield Piece(" red", 0.9, False, 7, 1, None)
            await self.let_go.wait()
            yield Piece(" ring", 0.9, False, 7, 2, "stop")
        except (asyncio.CancelledError, GeneratorExit):
            self.num_left += 1
            raise

    def is_dead(self) -> bool:
        return self.dead


@pytest.fixture
def start(monkeypatch):
    """Starts engines with two requests at work and one in the queue at most; call it in the loop."""
    monkeypatch.setattr(engines, "ChatEngine", HeldEngine)

    def run() -> tuple[Engines, HeldEngine]:
        serving = ServingConfig(models={"m": ServedModel(path="p")}, max_ongoing=2, max_queued=1)
        pool = Engines({"p": {}}, EngineConfig(), 0, serving)
        return pool, pool._engines["p"]

    return run


async def say(pool: Engines) -> str:
    return "".join([event.text async for event in pool.answer("p", WORK, stream=True) if isinstance(event, Text)])


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_beyond_the_queue_a_request_is_told_to_come_back(start):
    async def check() -> None:
        pool, engine = start()
        taken = [asyncio.create_task(say(pool)) for _ in range(3)]
        await settle()
        assert engine.num_started == 2  # the third waits
        with pytest.raises(RequestError) as refused:
            await say(pool)
        assert refused.value.status == 429 and refused.value.retry_after_s
        engine.let_go.set()
        assert await asyncio.gather(*taken) == ["red ring"] * 3
        assert await say(pool) == "red ring"

    asyncio.run(check())


def test_a_hang_up_stops_the_generation_and_frees_its_place(start):
    async def check() -> None:
        pool, engine = start()
        taken = [asyncio.create_task(say(pool)) for _ in range(3)]
        await settle()
        for task in taken:
            task.cancel()
        await asyncio.gather(*taken, return_exceptions=True)
        assert engine.num_left == engine.num_started == 2  # the one in the queue never reached the engine
        stream = pool.answer("p", WORK, stream=True)
        await anext(stream)
        await stream.aclose()
        assert engine.num_left == 3
        engine.let_go.set()
        assert await asyncio.gather(*(say(pool) for _ in range(3))) == ["red ring"] * 3

    asyncio.run(check())


def test_a_dead_engine_is_a_retryable_error_and_ends_the_process(start, monkeypatch):
    async def check() -> None:
        ended = asyncio.Event()
        monkeypatch.setattr(os, "_exit", lambda code: ended.set())
        pool, engine = start()
        pool.check()
        engine.dead = True
        with pytest.raises(RequestError) as refused:
            await say(pool)
        assert refused.value.status == 503 and refused.value.retry_after_s
        with pytest.raises(EngineDead):
            pool.check()
        await asyncio.wait_for(ended.wait(), 5)

    asyncio.run(check())


@pytest.mark.parametrize(
    ("given", "shares"),
    [
        ("4,5", ["4", "5"]),
        ("0,1,2,3", ["0,1", "2,3"]),
        ("7", ["7", "7"]),  # half a GPU each
        ("", ["", ""]),
    ],
)
def test_each_engine_sees_its_share_of_the_replicas_gpus(monkeypatch, given, shares):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    seen = []
    for index in range(2):
        with own_devices(index, 2):
            seen.append(os.environ["CUDA_VISIBLE_DEVICES"])
    assert seen == shares and os.environ["CUDA_VISIBLE_DEVICES"] == given
