"""Requests -> what vLLM's engine takes: token ids and preprocessed pixels.

columns `prompt`, `images` -> image files decoded -> vLLM's own renderer -> EngineInput, or a Refusal that says why not

This is the work that would make an engine wait, so it runs in processes of its own: the engine only ever adds finished
inputs. A bad row is refused here and never reaches an engine.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inbol_ray.config.machines import EngineConfig
from inbol_ray.images import ImageError, checkpoint_pad_colour, load_images
from inbol_ray.local_copies import local_copy
from inbol_ray.prompts import IMAGE_TOKEN

MAX_DETAIL_CHARS = 500

EngineInput = Any
"""vLLM's `EngineInput`: the output of its `Renderer.render_cmpl`, picklable. Kept opaque."""


@dataclass(frozen=True)
class Refusal:
    """Why a request cannot be answered: a slug to count by, and the sentence."""

    reason: str
    detail: str


def set_engine_environment(config: EngineConfig) -> None:
    """vLLM's variables for an engine that this process starts; those that are set already stay."""
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    on_cpu = config.compute_device == "cpu"
    if config.tensor_parallel_size == 1 and on_cpu:
        # A CPU engine spends most of its start on process spawns, and a worker process of its own spins on a core while
        # it waits; beside a GPU a process of its own keeps the GPU busy while this one receives replies.
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    elif on_cpu:
        # vLLM's CPU build wants a NUMA node for each of its processes, or to be told not to bind them.
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    if config.enforce_eager:
        # Log-probabilities would otherwise compile one small function, five seconds of every engine's start.
        os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")


def engine_settings(checkpoint: str, config: EngineConfig, seed: int) -> dict[str, Any]:
    """Fields of vLLM's EngineArgs that every engine here has."""
    options = {} if config.kv_cache_bytes is None else {"kv_cache_memory_bytes": config.kv_cache_bytes}
    if config.compute_device == "cpu":
        # A seeded prompt that is prefilled in pieces makes vLLM 0.32 rewind the seed's generator, which torch cannot do
        # on CPU ("CPU Generator does not use offset"): the engine dies.
        options["enable_chunked_prefill"] = False
    return options | {
        "model": checkpoint,
        "dtype": config.dtype,
        "tensor_parallel_size": config.tensor_parallel_size,
        "max_model_len": config.max_model_len,
        "max_num_seqs": config.max_num_seqs,
        "enforce_eager": config.enforce_eager,
        "limit_mm_per_prompt": {"image": 1},
        "enable_prefix_caching": True,
        "seed": seed,
        "trust_remote_code": False,
        "load_format": "safetensors",
        "disable_log_stats": True,
        "logits_processors": ["inbol_ray.sampling.refusal_openers:ForbidFirstTokens"],
    }


def engine_args(checkpoint: str, config: EngineConfig, seed: int):
    """vLLM's EngineArgs, the same for the renderer and the engine: an input made for other settings would not fit."""
    from vllm.engine.arg_utils import EngineArgs

    return EngineArgs(
        **engine_settings(checkpoint, config, seed),
        # Each image is preprocessed once, by the renderer; features of an image are shared through the encoder cache.
        mm_processor_cache_gb=0,
        scheduling_policy="priority",  # blocks are finished one after the other, however many rounds a question takes
    )


class Renderer:
    """vLLM's renderer of one checkpoint, without an engine."""

    def __init__(self, checkpoint: str, config: EngineConfig) -> None:
        from vllm.renderers.registry import renderer_from_config

        folder = local_copy(checkpoint)
        vllm_config = engine_args(folder, config, seed=0).create_engine_config()
        self._model_config = vllm_config.model_config
        self._renderer = renderer_from_config(vllm_config)
        self._pad_colour = checkpoint_pad_colour(folder)

    def render(self, rows: Sequence[Mapping]) -> list[EngineInput | Refusal]:
        """One result a row, in order. Rows have `prompt` and `images` (references, in prompt order)."""
        return [self._render(row["prompt"], row["images"]) for row in rows]

    def _render(self, prompt: str, references: Sequence[str]) -> EngineInput | Refusal:
        from vllm.exceptions import VLLMClientError
        from vllm.renderers.inputs.preprocess import parse_model_prompt

        placeholders = prompt.count(IMAGE_TOKEN)
        if placeholders != len(references):
            return Refusal(
                "prompt_refused", f"the prompt has {placeholders} {IMAGE_TOKEN} for {len(references)} images"
            )
        try:
            images = load_images(references, self._pad_colour)
        except ImageError as error:
            return Refusal("unreadable_image", str(error)[:MAX_DETAIL_CHARS])
        parts: dict = {"prompt": prompt}
        if images:
            parts["multi_modal_data"] = {"image": images}
        try:
            parsed = parse_model_prompt(self._model_config, parts)
            return self._renderer.render_cmpl([parsed], self._renderer.default_cmpl_tok_params)[0]
        except (ValueError, VLLMClientError) as error:
            return Refusal("prompt_refused", f"the engine refused the prompt: {error}"[:MAX_DETAIL_CHARS])
