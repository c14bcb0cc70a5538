"""An engine in a process of its own: vLLM keeps process groups in globals, and one engine's end takes another's along."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from inbol_ray.config.machines import EngineConfig
from inbol_ray.sampling.render import Renderer
from inbol_ray.sampling.vllm_engine import Decoding, Reply, Request, VllmEngine


def engine_replies(
    checkpoint: str, rows: Sequence[dict], seeds: Sequence[int], config: EngineConfig, decoding: Decoding
) -> list[Reply]:
    """Replies to rows of `prompt` and `images`, in order."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(_generate, checkpoint, rows, seeds, config, decoding).result()


def _generate(
    checkpoint: str, rows: Sequence[dict], seeds: Sequence[int], config: EngineConfig, decoding: Decoding
) -> list[Reply]:
    inputs = Renderer(checkpoint, config).render([{"id": "vqav2:val:1"} | row for row in rows])
    requests = [Request(one, seed) for one, seed in zip(inputs, seeds, strict=True)]
    return VllmEngine(checkpoint, config, seed=0).generate(requests, decoding)
