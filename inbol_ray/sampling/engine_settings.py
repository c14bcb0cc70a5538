"""EngineConfig -> vLLM's environment and arguments, for the engines of the pool and of the server."""

import os
from typing import Any

from inbol_ray.config.machines import EngineConfig
from inbol_ray.errors import ConfigError
from inbol_ray.images import MAX_IMAGES

LARGE_SHARE_BYTES = 64 << 30
"""An engine with so much of a device counts as large (`num_batched_tokens`)."""


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


def check_quantization(config: EngineConfig) -> None:
    """Raises ConfigError for a method that vLLM does not know. Imports vLLM where there is something to check."""
    if config.quantization is None:
        return
    from vllm.model_executor.layers.quantization import QUANTIZATION_METHODS

    if config.quantization not in QUANTIZATION_METHODS:
        raise ConfigError(
            f"engine.quantization is {config.quantization!r}; vLLM knows {', '.join(sorted(QUANTIZATION_METHODS))}"
        )


def num_batched_tokens(config: EngineConfig, device_bytes: int | None) -> int | None:
    """The most tokens of a step, where `device_bytes` of each device are the engine's; None leaves it to vLLM.

    Where `max_num_batched_tokens` is null, ours, after what vLLM's `LLM` takes: 8,192, or 16,384 with 64 GiB and more;
    always the longest prompt. vLLM's fallback for other entry points, which its CPU build keeps, is 2,048: three images
    of LLaVA's 576 tokens. vLLM encodes at most as many image tokens in a step, and keeps as many; it has no setting for
    that.
    """
    if config.max_num_batched_tokens is not None:
        # `engine_settings` takes no prompt in pieces on the CPU.
        least = config.max_model_len if config.compute_device == "cpu" else 1
        return max(least, config.max_num_batched_tokens)
    if device_bytes is None:
        return None
    usual = 16_384 if device_bytes >= LARGE_SHARE_BYTES else 8_192
    return max(config.max_model_len, min(usual, config.max_num_seqs * config.max_model_len))


def engine_settings(checkpoint: str, config: EngineConfig, seed: int, device_bytes: int | None) -> dict[str, Any]:
    """Fields of vLLM's EngineArgs that every engine here has. `device_bytes` of each of its devices are the engine's."""
    options = {
        "kv_cache_memory_bytes": config.cache_bytes,
        "max_num_batched_tokens": num_batched_tokens(config, device_bytes),
        "quantization": config.quantization,
    }
    if config.compute_device == "cpu":
        # A seeded prompt that is prefilled in pieces makes vLLM 0.32 rewind the seed's generator, which torch cannot do
        # on CPU ("CPU Generator does not use offset"): the engine dies.
        options["enable_chunked_prefill"] = False
    return {name: value for name, value in options.items() if value is not None} | {
        "model": checkpoint,
        "dtype": config.dtype,
        "tensor_parallel_size": config.tensor_parallel_size,
        "gpu_memory_utilization": config.memory_share,
        "max_model_len": config.max_model_len,
        "max_num_seqs": config.max_num_seqs,
        "enforce_eager": config.enforce_eager,
        "limit_mm_per_prompt": {"image": MAX_IMAGES},
        "enable_prefix_caching": True,
        "seed": seed,
        "trust_remote_code": False,
        "load_format": "safetensors",
        "disable_log_stats": True,
    }


def engine_args(checkpoint: str, config: EngineConfig, seed: int, device_bytes: int | None = None):
    """vLLM's EngineArgs, the same for the renderer and the engine: an input made for other settings would not fit."""
    from vllm.engine.arg_utils import EngineArgs

    return EngineArgs(
        **engine_settings(checkpoint, config, seed, device_bytes),
        # Each image is preprocessed once, by the renderer; features of an image are shared through the encoder cache.
        mm_processor_cache_gb=0,
        scheduling_policy="priority",  # blocks are finished one after the other, however many rounds a question takes
    )
