"""The engines of one replica, a vLLM engine a checkpoint: Work -> events, within bounds.

An engine that dies takes its process with it: Ray Serve starts another replica, and meanwhile the others answer.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from pathlib import Path

from inbol_ray.config.machines import EngineConfig
from inbol_ray.config.serving import ServingConfig
from inbol_ray.images import ImageError, decode_image
from inbol_ray.models import DEFAULT_FAMILY
from inbol_ray.sampling.chat_engine import ChatEngine, EngineDead, Prompt, PromptRefused, ReplyOptions
from inbol_ray.serving.answer import Event, Work, answer
from inbol_ray.serving.schema import RequestError

RETRY_AFTER_S = 1
PROBE_TIMEOUT_S = 5.0
_EXIT_DELAY_S = 0.2
"""The process of a dead engine lives on for so long, so that its callers hear of it."""
_DEVICES = "CUDA_VISIBLE_DEVICES"


@contextmanager
def own_devices(index: int, count: int) -> Iterator[None]:
    """Shows an engine that starts meanwhile its own share of the GPUs that Ray gave this replica."""
    given = os.environ.get(_DEVICES, "")
    devices = [device for device in given.split(",") if device]
    share = len(devices) // count
    if share:
        os.environ[_DEVICES] = ",".join(devices[index * share : (index + 1) * share])
    try:
        yield
    finally:
        if share:
            os.environ[_DEVICES] = given


class Engines:
    """`wanted` maps each checkpoint to the LoRA adapters on it (folders by name).

    Create it inside the event loop that will use it. Raises CheckpointError.
    """

    def __init__(
        self, wanted: Mapping[str, Mapping[str, str]], engine: EngineConfig, seed: int, serving: ServingConfig
    ) -> None:
        # On a fatal error vLLM logs the requests in flight, pictures included; this configuration leaves them out.
        os.environ.setdefault("VLLM_LOGGING_CONFIG_PATH", str(Path(__file__).with_name("vllm_logging.json")))
        self._max_pixels = serving.max_image_pixels
        self._max_requests = serving.max_ongoing + serving.max_queued
        self._num_requests = 0
        self._slots = asyncio.Semaphore(serving.max_ongoing)
        self._engines: dict[str, ChatEngine] = {}
        for index, (checkpoint, adapters) in enumerate(wanted.items()):
            with own_devices(index, len(wanted)):
                self._engines[checkpoint] = ChatEngine(checkpoint, engine, seed, adapters)

    async def answer(self, checkpoint: str, work: Work, *, stream: bool) -> AsyncIterator[Event]:
        """The events of one reply of a checkpoint's engine. Leaving early aborts the generation.

        Raises RequestError: 429 when all places are taken, 400 for what the engine refuses, 503 when it has died.
        """
        if self._num_requests >= self._max_requests:
            raise RequestError(429, "the server is busy; try again", retry_after_s=RETRY_AFTER_S)
        self._num_requests += 1
        try:
            async with self._slots:
                engine, limit = self._engines[checkpoint], self._max_pixels
                images = [
                    await asyncio.to_thread(decode_image, data, f"image {n}", engine.pad_colour, max_pixels=limit)
                    for n, data in enumerate(work.images, start=1)
                ]
                async with aclosing(answer(engine, images, work, stream=stream)) as events:
                    async for event in events:
                        yield event
        except (ImageError, PromptRefused) as error:
            raise RequestError(400, str(error)) from None
        except EngineDead:
            self._leave()
            message = "the model is being restarted; try again"
            raise RequestError(503, message, retry_after_s=RETRY_AFTER_S) from None
        finally:
            self._num_requests -= 1

    async def probe(self, checkpoint: str) -> bool:
        """Whether a checkpoint's engine can answer now: it writes one token as proof."""
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                await self._engines[checkpoint].complete(
                    Prompt(DEFAULT_FAMILY.chat.prompt("Ready?", num_images=0)), ReplyOptions(1)
                )
        except (TimeoutError, EngineDead):
            return False
        return True

    def check(self) -> None:
        """Raises EngineDead, and leaves, when one has died."""
        if any(engine.is_dead() for engine in self._engines.values()):
            self._leave()
            raise EngineDead("an engine has died")

    def close(self) -> None:
        for engine in self._engines.values():
            engine.close()

    def _leave(self) -> None:
        """End this process, which Ray Serve notices sooner than a failed health check."""
        asyncio.get_running_loop().call_later(_EXIT_DELAY_S, os._exit, 1)
