"""vLLM's async engine with the model's own signals: prompt and image -> confidence and reply, as it is written.

Calibration reads the same signals through `generate` (`Decoding.force_first`); what they are is in `refusal_openers` and
`agreement_rate`, so a threshold is fitted on the very numbers that it is compared with.
"""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from PIL import Image

from inbol_ray.config.machines import EngineConfig
from inbol_ray.images import checkpoint_pad_colour
from inbol_ray.local_copies import local_copy
from inbol_ray.sampling.checkpoints import check_checkpoint
from inbol_ray.sampling.render import engine_settings, set_engine_environment
from inbol_ray.scoring.vqa_accuracy import normalise_vqa

SAMPLE_TEMPERATURE = 1.0
"""Temperature of the samples behind `agreement`: the distribution that the model was trained to have."""


class PromptRefused(Exception):
    """The engine does not take a prompt, mostly for its length; the message is safe to show."""


class EngineDead(Exception):
    """The engine's process is gone; only a new engine helps."""


@dataclass(frozen=True)
class Prompt:
    """A chat prompt (`prompts.dialogue_prompt`), its images in order, and the name of a LoRA adapter."""

    text: str
    images: Sequence[Image.Image] = ()
    adapter: str | None = None


@dataclass(frozen=True)
class ReplyOptions:
    """How a reply is written. `force_answer` keeps it from starting like a refusal.

    With a `seed`, a reply at a temperature is drawn anew alike, as far as the logits of another batch are alike.
    """

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    force_answer: bool = False


@dataclass(frozen=True)
class Piece:
    """New text of a reply. `confidence` is 1 - P(refusal) at the first token, `opens_refusal` what was chosen there.

    Token counts are those so far; `finish_reason` is None until the last piece.
    """

    text: str
    confidence: float
    opens_refusal: bool
    num_prompt_tokens: int
    num_tokens: int
    finish_reason: str | None


class ChatEngine:
    """One vLLM engine on one checkpoint; create it inside a running event loop. Raises CheckpointError."""

    def __init__(
        self, checkpoint: str, config: EngineConfig, seed: int, adapters: Mapping[str, str] | None = None
    ) -> None:
        folder = local_copy(checkpoint)
        check_checkpoint(folder)
        set_engine_environment(config)
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.lora.request import LoRARequest
        from vllm.v1.engine.async_llm import AsyncLLM

        from inbol_ray.sampling.refusal_openers import refusal_openers

        options = {}
        if adapters:
            options = {"enable_lora": True, "max_loras": len(adapters), "max_lora_rank": _largest_rank(adapters)}
        arguments = AsyncEngineArgs(**engine_settings(folder, config, seed), enable_log_requests=False, **options)
        self.engine = AsyncLLM.from_engine_args(arguments)
        self.openers = refusal_openers(self.engine.get_tokenizer())
        self.pad_colour = checkpoint_pad_colour(folder)
        self.adapters = {
            name: LoRARequest(name, index, path) for index, (name, path) in enumerate((adapters or {}).items(), start=1)
        }
        self._numbers = itertools.count()

    async def write(self, prompt: Prompt, options: ReplyOptions, *, stream: bool) -> AsyncIterator[Piece]:
        """The reply piece by piece, or in one piece. Leaving early aborts the generation.

        Raises PromptRefused and EngineDead.
        """
        from vllm.sampling_params import RequestOutputKind

        kind = RequestOutputKind.DELTA if stream else RequestOutputKind.FINAL_ONLY
        params = self._params(options, output_kind=kind, logprob_token_ids=self.openers)
        confidence, opens_refusal, num_tokens = None, False, 0
        async with aclosing(self._run(prompt, params)) as outputs:
            async for output in outputs:
                reply = output.outputs[0]
                num_tokens += len(reply.token_ids)
                if confidence is None:
                    if not reply.token_ids:
                        continue
                    confidence, opens_refusal = self._first_token(reply)
                yield Piece(
                    reply.text,
                    confidence,
                    opens_refusal,
                    len(output.prompt_token_ids or ()),
                    num_tokens,
                    reply.finish_reason if output.finished else None,
                )

    async def complete(self, prompt: Prompt, options: ReplyOptions) -> Piece:
        """The whole reply. Raises PromptRefused and EngineDead."""
        async for piece in self.write(prompt, options, stream=False):
            last = piece
        return last

    async def sample(self, prompt: Prompt, num_samples: int, max_tokens: int) -> list[str]:
        """`num_samples` free replies, refusals among them. Raises PromptRefused and EngineDead."""
        from vllm.sampling_params import RequestOutputKind

        options = ReplyOptions(max_tokens, SAMPLE_TEMPERATURE)
        params = self._params(options, output_kind=RequestOutputKind.FINAL_ONLY, n=num_samples)
        async for output in self._run(prompt, params):
            last = output
        return [sample.text for sample in last.outputs]

    def is_dead(self) -> bool:
        return self.engine.errored

    def close(self) -> None:
        self.engine.shutdown()

    async def _run(self, prompt: Prompt, params) -> AsyncIterator:
        from vllm.exceptions import VLLMClientError
        from vllm.v1.engine.exceptions import EngineDeadError

        inputs: dict = {"prompt": prompt.text}
        if prompt.images:
            inputs["multi_modal_data"] = {"image": list(prompt.images)}
        lora = self.adapters[prompt.adapter] if prompt.adapter else None
        try:
            running = self.engine.generate(inputs, params, f"r{next(self._numbers)}", lora_request=lora)
            async with aclosing(running) as outputs:  # to leave early aborts it at once, not when it is collected
                async for output in outputs:
                    yield output
        except EngineDeadError:
            raise EngineDead("the engine has died") from None
        except (ValueError, VLLMClientError) as error:
            # vLLM's own words may hold paths and prompt text.
            limit = self.engine.model_config.max_model_len
            raise PromptRefused(f"the engine refused the prompt; prompt and reply may have {limit} tokens") from error

    def _params(self, options: ReplyOptions, **vllm_options):
        from vllm import SamplingParams

        from inbol_ray.sampling.refusal_openers import forbid_first

        return SamplingParams(
            max_tokens=options.max_tokens,
            temperature=options.temperature,
            top_p=options.top_p,
            stop=list(options.stop),
            seed=options.seed,
            extra_args=forbid_first(self.openers) if options.force_answer else None,
            **vllm_options,
        )

    def _first_token(self, reply) -> tuple[float, bool]:
        from inbol_ray.sampling.refusal_openers import answer_probability

        return answer_probability(reply.logprobs[0], self.openers), reply.token_ids[0] in self.openers


def agreement_rate(answer: str, samples: Sequence[str]) -> float:
    """Share of samples equal to `answer` after VQA normalisation, in [0, 1]."""
    said = normalise_vqa(answer.strip())
    return sum(normalise_vqa(sample.strip()) == said for sample in samples) / len(samples)


async def read_signals(
    engine: ChatEngine, prompt: Prompt, max_tokens: int, num_samples: int
) -> tuple[Piece, float | None]:
    """The forced greedy answer with its first-token confidence, and its agreement where `num_samples` > 0."""
    options = ReplyOptions(max_tokens, force_answer=True)
    if not num_samples:
        return await engine.complete(prompt, options), None
    answer, samples = await asyncio.gather(
        engine.complete(prompt, options), engine.sample(prompt, num_samples, max_tokens)
    )
    return answer, agreement_rate(answer.text, samples)


def _largest_rank(adapters: Mapping[str, str]) -> int:
    """The smallest rank that vLLM offers and every adapter fits in."""
    import json
    from typing import get_args

    from vllm.config.lora import MaxLoRARanks

    ranks = []
    for path in adapters.values():
        with open(os.path.join(path, "adapter_config.json")) as file:
            ranks.append(json.load(file)["r"])
    return next(rank for rank in sorted(get_args(MaxLoRARanks)) if rank >= max(ranks))
