"""One request on an engine: Work -> what to say, piece by piece, and why. Knows nothing of HTTP or Ray.

With a threshold the model is made to answer, and the answer is given where its confidence reaches the threshold.
Without one the model decides. Nothing is said before the decision: a refusal cannot be taken back from a stream.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Literal

from PIL import Image

from inbol_ray.method.prompts import CURRENT_REFUSALS
from inbol_ray.sampling.chat_engine import ChatEngine, Piece, Prompt, ReplyOptions, agreement_rate, read_signals
from inbol_ray.scoring.refusal import detect_refusal

Signal = Literal["first_token", "agreement"]


@dataclass(frozen=True)
class Rule:
    """When to answer: where `signal` reaches `threshold`; None leaves it to the model, infinity refuses always.

    `target_risk` is what the threshold was chosen for, if it was. `num_samples` is for `agreement`.
    """

    signal: Signal = "first_token"
    threshold: float | None = None
    target_risk: float | None = None
    num_samples: int = 0


@dataclass(frozen=True)
class Work:
    """What an engine needs for one request. `images` are encoded bytes, in prompt order."""

    prompt: str
    images: Sequence[bytes]
    options: ReplyOptions
    rule: Rule
    adapter: str | None = None


@dataclass(frozen=True)
class Text:
    """More of the answer."""

    text: str


@dataclass(frozen=True)
class Refusal:
    """The words of a refusal. `streamed` means that they have already been sent as text."""

    text: str
    streamed: bool = False


@dataclass(frozen=True)
class End:
    """The last event of every reply; `confidence` is the rule's signal."""

    refused: bool
    decided_by: Literal["dial", "model"]
    confidence: float
    finish_reason: str
    num_prompt_tokens: int
    num_tokens: int


Event = Text | Refusal | End


def answer(engine: ChatEngine, images: Sequence[Image.Image], work: Work, *, stream: bool) -> AsyncIterator[Event]:
    """The events of one reply. Raises PromptRefused and EngineDead."""
    prompt = Prompt(work.prompt, images, work.adapter)
    if work.rule.signal == "agreement":
        return _answer_by_agreement(engine, prompt, work)
    if work.rule.threshold is not None:
        return _answer_by_first_token(engine, prompt, work, stream)
    return _answer_as_the_model_likes(engine, prompt, work, stream)


async def _answer_by_first_token(engine: ChatEngine, prompt: Prompt, work: Work, stream: bool) -> AsyncIterator[Event]:
    said = ""
    async with aclosing(engine.write(prompt, replace(work.options, force_answer=True), stream=stream)) as pieces:
        async for piece in pieces:
            if piece.confidence < work.rule.threshold:
                yield Refusal(CURRENT_REFUSALS[0])
                yield _end(piece, piece.confidence, refused=True, decided_by="dial")
                return
            text = piece.text if said else piece.text.lstrip()
            said += text
            if text and stream:
                yield Text(text)
    for event in _closing(said, piece, piece.confidence, streamed=stream, decided_by="dial"):
        yield event


async def _answer_as_the_model_likes(
    engine: ChatEngine, prompt: Prompt, work: Work, stream: bool
) -> AsyncIterator[Event]:
    said = ""
    async with aclosing(engine.write(prompt, work.options, stream=stream)) as pieces:
        async for piece in pieces:
            text = piece.text if said else piece.text.lstrip()
            said += text
            if text and stream and not piece.opens_refusal:
                yield Text(text)
    streamed = stream and not piece.opens_refusal
    for event in _closing(said, piece, piece.confidence, streamed=streamed, decided_by="model"):
        yield event


async def _answer_by_agreement(engine: ChatEngine, prompt: Prompt, work: Work) -> AsyncIterator[Event]:
    options, rule = work.options, work.rule
    if rule.threshold is None:
        piece, samples = await asyncio.gather(
            engine.complete(prompt, options), engine.sample(prompt, rule.num_samples, options.max_tokens)
        )
        confidence = agreement_rate(piece.text, samples)
    else:
        piece, confidence = await read_signals(engine, prompt, options.max_tokens, rule.num_samples)
    if rule.threshold is not None and confidence < rule.threshold:
        yield Refusal(CURRENT_REFUSALS[0])
        yield _end(piece, confidence, refused=True, decided_by="dial")
        return
    decided_by = "model" if rule.threshold is None else "dial"
    for event in _closing(piece.text.strip(), piece, confidence, streamed=False, decided_by=decided_by):
        yield event


def _closing(said: str, piece: Piece, confidence: float, *, streamed: bool, decided_by: str) -> list[Event]:
    """What remains to be sent of a complete reply: the text, or its being a refusal in words."""
    said = said.rstrip()
    if detect_refusal(said).refused:
        return [Refusal(said, streamed), _end(piece, confidence, refused=True, decided_by="model")]
    end = _end(piece, confidence, refused=False, decided_by=decided_by)
    return [end] if streamed or not said else [Text(said), end]


def _end(piece: Piece, confidence: float, *, refused: bool, decided_by: str) -> End:
    reason = "length" if piece.finish_reason == "length" and not (refused and decided_by == "dial") else "stop"
    return End(refused, decided_by, confidence, reason, piece.num_prompt_tokens, piece.num_tokens)
