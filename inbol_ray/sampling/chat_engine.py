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
from inbol_ray.sampling.checkpoints import check_checkpoint
from inbol_ray.sampling.device_memory import device_memory
from inbol_ray.sampling.engine_settings import engine_settings, set_engine_environment
from inbol_ray.sampling.refusal_openers import FirstToken
from inbol_ray.sampling.stop_strings import StopStrings
from inbol_ray.scoring.vqa_accuracy import normalise_vqa
from inbol_ray.store.local_copies import local_copy

SAMPLE_TEMPERATURE = 1.0
"""Temperature of the samples behind `agreement`: the distribution that the model was trained to have."""


class PromptRefused(Exception):
    """The engine does not take a prompt, mostly for its length; the message is safe to show."""


class EngineDead(Exception):
    """The engine's process is gone; only a new engine helps."""


@dataclass(frozen=True)
class Prompt:
    """A chat prompt (`models.ChatLayout.dialogue`), its images in order, and the name of a LoRA adapter."""

    text: str
    images: Sequence[Image.Image] = ()
    adapter: str | None = None


@dataclass(frozen=True)
class ReplyOptions:
    """How a reply is written. `force_answer` keeps it from starting like a refusal; drawn at a temperature, such a reply
    is never empty.

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
    """One vLLM engine on one checkpoint; create it inside a running event loop.

    Raises CheckpointError, and EngineError where its devices have no room for it.
    """

    def __init__(
        self, checkpoint: str, config: EngineConfig, seed: int, adapters: Mapping[str, str] | None = None
    ) -> None:
        folder = local_copy(checkpoint)
        check_checkpoint(folder)
        set_engine_environment(config)
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.lora.request import LoRARequest
        from vllm.v1.engine.async_llm import AsyncLLM

        options = {}
        if adapters:
            options = {"enable_lora": True, "max_loras": len(adapters), "max_lora_rank": _largest_rank(adapters)}
        with device_memory(config) as device_bytes:
            settings = engine_settings(folder, config, seed, device_bytes)
            self.engine = AsyncLLM.from_engine_args(AsyncEngineArgs(**settings, enable_log_requests=False, **options))
        self.first_token = FirstToken.of_engine(self.engine.get_tokenizer(), self.engine.model_config)
        self.pad_colour = checkpoint_pad_colour(folder)
        self.adapters = {
            name: LoRARequest(name, index, path) for index, (name, path) in enumerate((adapters or {}).items(), start=1)
        }
        self._numbers = itertools.count()

    async def write(self, prompt: Prompt, options: ReplyOptions, *, stream: bool) -> AsyncIterator[Piece]:
        """The reply piece by piece, or in one piece. Leaving early aborts the generation.

        Raises PromptRefused and EngineDead.
        """
        pieces = self._forced(prompt, options, stream) if options.force_answer else self._free(prompt, options, stream)
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece

    async def _free(self, prompt: Prompt, options: ReplyOptions, stream: bool) -> AsyncIterator[Piece]:
        params = self._params(options, stop=list(options.stop), output_kind=_kind(stream), **self.first_token.watched())
        confidence, opens_refusal, num_tokens = None, False, 0
        async with aclosing(self._run(prompt, params)) as outputs:
            async for output in outputs:
                reply = output.outputs[0]
                num_tokens += len(reply.token_ids)
                if confidence is None:
                    if not reply.token_ids:
                        continue
                    confidence = self.first_token.answer_probability(reply.logprobs[0])
                    opens_refusal = reply.token_ids[0] in self.first_token.openers
                yield Piece(
                    reply.text,
                    confidence,
                    opens_refusal,
                    len(output.prompt_token_ids or ()),
                    num_tokens,
                    reply.finish_reason if output.finished else None,
                )

    async def _forced(self, prompt: Prompt, options: ReplyOptions, stream: bool) -> AsyncIterator[Piece]:
        """The pieces of one request, and where an opener cut it of a second one that goes on after it."""
        stops, text = StopStrings(options.stop), ""
        confidence, num_prompt_tokens, said = None, 0, []
        while True:
            # Stop strings are found here, where a reply is whole, so that it must come in pieces to end at one.
            params = self._params(
                options,
                max_tokens=options.max_tokens - len(said),
                output_kind=_kind(stream or options.stop),
                **({} if said else self.first_token.forbidden()),
            )
            async with aclosing(self._run(prompt, params, said=tuple(said))) as outputs:
                async for output in outputs:
                    reply = output.outputs[0]
                    if confidence is None:
                        if not reply.token_ids:
                            continue
                        first, num_prompt_tokens = reply.logprobs[0], len(output.prompt_token_ids or ())
                        confidence = self.first_token.answer_probability(first)
                        if options.temperature == 0 and self.first_token.is_end(first, reply.token_ids[0]):
                            yield Piece("", confidence, False, num_prompt_tokens, 1, "stop")
                            return
                    said += reply.token_ids
                    reason = reply.finish_reason if output.finished else None
                    if output.finished and self.first_token.is_cut(reply.stop_reason):
                        limit = self.engine.model_config.max_model_len - num_prompt_tokens
                        reason = "length" if len(said) >= min(options.max_tokens, limit) else None
                    more, stopped = stops.take(reply.text, last=reason is not None)
                    text += more
                    reason = "stop" if stopped else reason
                    if stream or reason:
                        yield Piece(text, confidence, False, num_prompt_tokens, len(said), reason)
                        text = ""
                    if reason:
                        return

    async def complete(self, prompt: Prompt, options: ReplyOptions) -> Piece:
        """The whole reply. Raises PromptRefused and EngineDead."""
        async for piece in self.write(prompt, options, stream=False):
            last = piece
        return last

    async def sample(self, prompt: Prompt, num_samples: int, max_tokens: int) -> list[str]:
        """`num_samples` free replies, refusals among them. Raises PromptRefused and EngineDead."""
        options = ReplyOptions(max_tokens, SAMPLE_TEMPERATURE)
        params = self._params(options, output_kind=_kind(in_pieces=False), n=num_samples)
        async for output in self._run(prompt, params):
            last = output
        return [sample.text for sample in last.outputs]

    def is_dead(self) -> bool:
        return self.engine.errored

    def close(self) -> None:
        self.engine.shutdown()

    async def _run(self, prompt: Prompt, params, said: Sequence[int] = ()) -> AsyncIterator:
        """vLLM's outputs for a prompt, of what comes after the token ids `said`."""
        from vllm.exceptions import VLLMClientError
        from vllm.v1.engine.exceptions import EngineDeadError

        inputs: dict = {"prompt": prompt.text}
        if said:
            inputs = {"prompt_token_ids": [*self.engine.get_tokenizer()(prompt.text).input_ids, *said]}
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

        # A request that goes on with a seeded reply has its seed too: on a GPU vLLM draws by seed and position, so it
        # goes on as one request would have.
        settings = {
            "max_tokens": options.max_tokens,
            "temperature": options.temperature,
            "top_p": options.top_p,
            "seed": options.seed,
        }
        return SamplingParams(**settings | vllm_options)


def _kind(in_pieces: object):
    from vllm.sampling_params import RequestOutputKind

    return RequestOutputKind.DELTA if in_pieces else RequestOutputKind.FINAL_ONLY


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
