"""One vLLM engine in this process: requests in, replies or the reason for none out.

The engine keeps running while checkpoints change: `load` swaps the weights in place, which takes milliseconds where a
new engine takes many seconds.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from inbol_ray.config.schema import EngineConfig
from inbol_ray.errors import CheckpointError
from inbol_ray.images import ImageError, load_images
from inbol_ray.local_copies import local_copy
from inbol_ray.prompts import IMAGE_TOKEN

MAX_DETAIL_CHARS = 500


@dataclass(frozen=True)
class Decoding:
    """How replies are drawn. `num_logprobs` > 0 also returns the first token's most likely alternatives."""

    num_samples: int = 1
    temperature: float = 0.0
    max_tokens: int = 16
    num_logprobs: int = 0


@dataclass(frozen=True)
class Request:
    """A chat prompt (`prompts.chat_prompt`) and references to its images, in prompt order."""

    prompt: str
    images: Sequence[str]


@dataclass(frozen=True)
class Reply:
    """`texts` has one entry a sample; `first_token` maps alternatives of the first token to their log-probability.

    A request that could not be answered has no texts, and `reason` (a slug) and `detail` say why.
    """

    texts: list[str] = field(default_factory=list)
    first_token: dict[str, float] = field(default_factory=dict)
    reason: str = ""
    detail: str = ""


class VllmEngine:
    """A vLLM engine on one checkpoint at a time. Raises CheckpointError for a folder that it cannot load."""

    def __init__(self, checkpoint: str, config: EngineConfig, seed: int) -> None:
        folder = local_copy(checkpoint)
        _check_checkpoint(folder)
        # Without these a CPU engine spends most of its start on process spawns, and threads fight over cores.
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        from vllm import LLM

        options = {} if config.kv_cache_bytes is None else {"kv_cache_memory_bytes": config.kv_cache_bytes}
        self.llm = LLM(
            model=folder,
            dtype=config.dtype,
            max_model_len=config.max_model_len,
            max_num_seqs=config.max_num_seqs,
            enforce_eager=config.enforce_eager,
            limit_mm_per_prompt={"image": 1},
            seed=seed,
            trust_remote_code=False,
            load_format="safetensors",
            disable_log_stats=True,
            **options,
        )
        self.checkpoint = checkpoint

    def load(self, checkpoint: str) -> None:
        """Switch to another checkpoint of the same architecture; every cache of the old weights is dropped."""
        if checkpoint == self.checkpoint:
            return
        folder = local_copy(checkpoint)
        _check_checkpoint(folder)
        self.llm.collective_rpc("reload_weights", kwargs={"weights_path": folder})
        if not self.llm.reset_prefix_cache():
            raise CheckpointError(f"{checkpoint}: the engine kept cached prefixes of {self.checkpoint}")
        self.llm.llm_engine.reset_encoder_cache()
        self.checkpoint = checkpoint

    def generate(self, requests: Sequence[Request], decoding: Decoding) -> list[Reply]:
        """A reply for every request, in order; a bad request never takes others down with it."""
        from vllm import SamplingParams

        params = SamplingParams(
            n=decoding.num_samples,
            temperature=decoding.temperature,
            max_tokens=decoding.max_tokens,
            logprobs=decoding.num_logprobs or None,
        )
        replies: list[Reply | None] = [None] * len(requests)
        inputs: dict[int, dict] = {}
        for index, request in enumerate(requests):
            placeholders = request.prompt.count(IMAGE_TOKEN)
            if placeholders != len(request.images):
                detail = f"the prompt has {placeholders} {IMAGE_TOKEN} for {len(request.images)} images"
                replies[index] = Reply(reason="prompt_refused", detail=detail)
                continue
            try:
                images = load_images(request.images)
            except ImageError as error:
                replies[index] = Reply(reason="unreadable_image", detail=str(error))
                continue
            inputs[index] = {"prompt": request.prompt}
            if images:
                inputs[index]["multi_modal_data"] = {"image": images if len(images) > 1 else images[0]}
        for index, reply in zip(inputs, self._generate_all(list(inputs.values()), params), strict=True):
            replies[index] = reply
        return replies

    def _generate_all(self, inputs: list[dict], params) -> list[Reply]:
        from vllm.exceptions import VLLMClientError

        if not inputs:
            return []
        try:
            return [_to_reply(output) for output in self.llm.generate(inputs, params, use_tqdm=False)]
        except (ValueError, VLLMClientError) as error:
            # vLLM refuses a whole call for one bad request, and stays usable: find the bad one by halves.
            if len(inputs) == 1:
                detail = f"the engine refused the prompt: {error}"[:MAX_DETAIL_CHARS]
                return [Reply(reason="prompt_refused", detail=detail)]
        middle = len(inputs) // 2
        return self._generate_all(inputs[:middle], params) + self._generate_all(inputs[middle:], params)


def _to_reply(output) -> Reply:
    logprobs = output.outputs[0].logprobs
    alternatives: dict[str, float] = {}
    for entry in logprobs[0].values() if logprobs else ():
        # Several tokens may have one text, bytes that are no whole character for example: their probabilities add up.
        known = alternatives.get(entry.decoded_token, -math.inf)
        alternatives[entry.decoded_token] = float(np.logaddexp(known, entry.logprob))
    return Reply(texts=[sample.text.strip() for sample in output.outputs], first_token=alternatives)


def _check_checkpoint(checkpoint: str) -> None:
    """Raise CheckpointError for a local folder without what an engine needs; hub names pass."""
    if not os.path.isdir(checkpoint):
        return
    for name in ("config.json", "tokenizer_config.json", "processor_config.json"):
        alternatives = (name, "preprocessor_config.json") if name.startswith("processor") else (name,)
        if not any(os.path.exists(os.path.join(checkpoint, option)) for option in alternatives):
            raise CheckpointError(
                f"{checkpoint}: {name} is missing; expected a llava-hf folder with weights, tokenizer and processor. "
                "Save the processor beside the model (processor.save_pretrained)"
            )
