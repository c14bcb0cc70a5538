"""The Ray Serve deployment behind the gateway: one replica is one vLLM engine. Work -> events."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

from inbol_ray.config.machines import EngineConfig
from inbol_ray.images import ImageError, decode_image
from inbol_ray.prompts import chat_prompt
from inbol_ray.sampling.chat_engine import ChatEngine, EngineDead, Prompt, PromptRefused, ReplyOptions
from inbol_ray.serving.answer import Event, Fault, Work, answer

_EXIT_DELAY_S = 0.2
"""A dead engine's replica lives on for so long, so that its callers hear of it."""


class EngineReplica:
    """Wrapped by `serve.deployment` in `app.py`. Raises CheckpointError when it cannot start."""

    def __init__(self, checkpoint: str, engine: dict, seed: int, adapters: dict[str, str], max_pixels: int) -> None:
        # On a fatal error vLLM logs the requests in flight, pictures included; this configuration leaves them out.
        os.environ.setdefault("VLLM_LOGGING_CONFIG_PATH", str(Path(__file__).with_name("vllm_logging.json")))
        self._config = EngineConfig(**engine)
        self._start = (checkpoint, self._config, seed, adapters)
        self._max_pixels = max_pixels
        self._engine: ChatEngine | None = None
        self._starting = asyncio.Lock()

    async def stream(self, work: Work) -> AsyncIterator[Event]:
        """The events of one reply as they come; a Fault is the only one where there is no reply."""
        async for event in self._answer(work, stream=True):
            yield event

    async def reply(self, work: Work) -> list[Event]:
        """All events of one reply at once: fewer messages than `stream`."""
        return [event async for event in self._answer(work, stream=False)]

    async def probe(self) -> bool:
        """Write one token, as proof that the engine can."""
        engine = await self._ready()
        await engine.complete(Prompt(chat_prompt("Ready?", num_images=0)), ReplyOptions(max_tokens=1))
        return True

    async def check_health(self) -> None:
        """Serve replaces a replica whose check raises; ours leaves by itself, which is faster."""
        engine = await self._ready()
        if engine.is_dead():
            self._leave()
            raise EngineDead("the engine has died")

    async def _answer(self, work: Work, *, stream: bool) -> AsyncIterator[Event]:
        try:
            engine = await self._ready()
            images = [
                await asyncio.to_thread(decode_image, data, f"image {number}", self._max_pixels)
                for number, data in enumerate(work.images, start=1)
            ]
            async for event in answer(engine, images, work, stream=stream):
                yield event
        except (ImageError, PromptRefused) as error:
            yield Fault(400, str(error))
        except EngineDead:
            self._leave()
            yield Fault(503, "the model is being restarted; try again")

    async def _ready(self) -> ChatEngine:
        """The engine, created by the first health check, which Serve waits for: vLLM wants the loop that will use it."""
        async with self._starting:
            if self._engine is None:
                self._engine = ChatEngine(*self._start)
        return self._engine

    def _leave(self) -> None:
        asyncio.get_running_loop().call_later(_EXIT_DELAY_S, os._exit, 1)

    def __del__(self) -> None:
        if self._engine is not None:
            self._engine.close()
