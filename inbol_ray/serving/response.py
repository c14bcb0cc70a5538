"""Events of a reply -> the JSON that OpenAI clients expect, whole or as server-sent chunks.

A refusal stands in `message.refusal` and, in words, in `content` too; the `inbol` object says how sure the model was
and what decided. In a stream it comes with the last chunk that has choices.
"""

import json
import math
import time
import uuid
from collections.abc import Iterator, Sequence

from inbol_ray.serving.answer import End, Event, Refusal, Rule, Text

DONE = "data: [DONE]\n\n"


def completion(model: str, events: Sequence[Event], rule: Rule) -> dict:
    """A `chat.completion` from all events of a reply."""
    end = events[-1]
    content = "".join(event.text for event in events if isinstance(event, Text | Refusal))
    refusal = content if end.refused else None
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": content, "refusal": refusal},
        "logprobs": None,
        "finish_reason": end.finish_reason,
    }
    return _head(model, "chat.completion") | {"choices": [choice], "usage": _usage(end), "inbol": _inbol(rule, end)}


class ChunkWriter:
    """Writes the `chat.completion.chunk` lines of one reply."""

    def __init__(self, model: str, include_usage: bool) -> None:
        self._head = _head(model, "chat.completion.chunk")
        self._include_usage = include_usage

    def opening(self) -> str:
        return self._chunk({"role": "assistant", "content": ""})

    def write(self, event: Event, rule: Rule) -> Iterator[str]:
        if isinstance(event, Text):
            yield self._chunk({"content": event.text})
        elif isinstance(event, Refusal):
            words = {} if event.streamed else {"content": event.text}
            yield self._chunk(words | {"refusal": event.text})
        elif isinstance(event, End):
            yield self._chunk({}, event.finish_reason, inbol=_inbol(rule, event))
            if self._include_usage:
                yield sse(self._head | {"choices": [], "usage": _usage(event)})

    def _chunk(self, delta: dict, finish_reason: str | None = None, **extra) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        usage = {"usage": None} if self._include_usage else {}
        return sse(self._head | {"choices": [choice]} | usage | extra)


def sse(content: dict) -> str:
    return f"data: {json.dumps(content, ensure_ascii=False, allow_nan=False)}\n\n"


def _head(model: str, kind: str) -> dict:
    return {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": kind, "created": int(time.time()), "model": model}


def _usage(end: End) -> dict:
    return {
        "prompt_tokens": end.num_prompt_tokens,
        "completion_tokens": end.num_tokens,
        "total_tokens": end.num_prompt_tokens + end.num_tokens,
    }


def _inbol(rule: Rule, end: End) -> dict:
    threshold = rule.threshold
    return {
        "decision": "refused" if end.refused else "answered",
        "decided_by": end.decided_by,
        "confidence": round(end.confidence, 6),
        "signal": rule.signal,
        # JSON has no infinity: where nothing reaches the target, the threshold is null and the dial decides.
        "threshold": threshold if threshold is not None and math.isfinite(threshold) else None,
        "target_risk": rule.target_risk,
        "num_samples": rule.num_samples or None,
    }
