"""What goes over the wire: Chat -> body of `POST /chat/completions` -> body of the response -> Reply.

Source: OpenAI's API reference, Chat Completions; what vLLM and commercial servers leave out or add is tolerated.
"""

import base64
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image

from inbol_ray.config.endpoint import EndpointConfig
from inbol_ray.errors import InbolError
from inbol_ray.images import decode_image, open_image, read_image_bytes
from inbol_ray.pixels import to_rgb
from inbol_ray.sampling.vllm_engine import Decoding, Reply

WIRE_VERSION = 1
"""Goes up when the same question is sent otherwise: replies of another version are asked for again."""
MEDIA_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "GIF": "image/gif"}
"""Formats that servers take, and whose bytes are sent as they are on disk."""
MAX_WORDS = 300
"""Characters of a server's error message that are kept."""
FILTER_CODES = frozenset({"content_filter", "content_policy_violation"})
"""Error codes of servers (Azure's, OpenAI's) that refuse a question before the model sees it."""


class MalformedReplyError(InbolError, ValueError):
    """A response of status 200 that holds no chat completion."""


@dataclass(frozen=True)
class Chat:
    """One question: the user's text, its images (references, which come before the text), and the system text."""

    user: str
    images: Sequence[str] = ()
    system: str | None = None


def chat_messages(chat: Chat) -> list[dict]:
    """The `messages` of a request. Reads the images; raises ImageError."""
    content = [{"type": "image_url", "image_url": {"url": image_uri(reference)}} for reference in chat.images]
    content.append({"type": "text", "text": chat.user})
    system = [] if chat.system is None else [{"role": "system", "content": chat.system}]
    return [*system, {"role": "user", "content": content if chat.images else chat.user}]


def chat_body(endpoint: EndpointConfig, messages: list[dict], decoding: Decoding) -> dict:
    """A request for one greedy reply with the log-probabilities of its tokens."""
    assert decoding.num_samples == 1 and decoding.temperature == 0
    return endpoint.extra_body | {
        "model": endpoint.model,
        "messages": messages,
        "temperature": 0,
        "max_tokens": decoding.max_tokens,
        "logprobs": True,
    }


def image_uri(reference: str) -> str:
    """An image as a data URI: its bytes as they are where a server takes the format, else as PNG. Raises ImageError."""
    data = read_image_bytes(reference)
    try:
        kind = Image.open(io.BytesIO(data), formats=tuple(MEDIA_TYPES)).format
    except Exception:  # another format, or hostile bytes, on which a decoder raises anything
        kind, data = "PNG", _as_png(data, reference)
    return f"data:{MEDIA_TYPES[kind]};base64,{base64.b64encode(data).decode()}"


def _as_png(data: bytes, name: str) -> bytes:
    decode_image(data, name)  # says what is wrong with a file that cannot be used
    buffer = io.BytesIO()
    to_rgb(open_image(data, name)).save(buffer, "PNG")
    return buffer.getvalue()


def read_reply(body: bytes) -> Reply:
    """The reply in a `chat.completion`.

    A refusal that the server tells apart (`message.refusal`, or `finish_reason` content_filter) has finish "refusal";
    its text is the message's content, else the words of the refusal, else nothing. Raises MalformedReplyError.
    """
    try:
        content = json.loads(body)
        choice = content["choices"][0]
        message = choice["message"]
        text, refusal = _text(message.get("content")), _text(message.get("refusal"))
        finish = choice.get("finish_reason")
        usage = content.get("usage") or {}
        reply = Reply(
            texts=[(text or refusal).strip()],
            token_logprobs=[_token_logprobs(choice.get("logprobs"))],
            input_tokens=_count(usage.get("prompt_tokens")),
            output_tokens=_count(usage.get("completion_tokens")),
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise MalformedReplyError(f"a response that is no chat completion ({type(error).__name__})") from None
    if refusal or finish == "content_filter":
        reply.finish = "refusal"
    elif finish in ("stop", "length"):
        reply.finish = finish
    return reply


def read_error(body: bytes) -> tuple[str, str]:
    """(words, code) of an error response, the words shortened to a line; whatever the server sends."""
    text, code = body.decode(errors="replace"), ""
    try:
        content = json.loads(text)
        error = content.get("error", content)
        text = error if isinstance(error, str) else error.get("message") or error.get("detail") or text
        code = "" if isinstance(error, str) else str(error.get("code") or "")
    except (ValueError, AttributeError):
        pass
    words = " ".join(str(text).split())
    return (words if len(words) <= MAX_WORDS else f"{words[:MAX_WORDS]}...") or "no words", code


def filtered_reply() -> Reply:
    """For a question that a server's filter refused: a refusal without words."""
    return Reply(texts=[""], token_logprobs=[[]], finish="refusal")


def _text(content) -> str:
    """A message's content: a string, null, or a list of parts."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if part.get("type") == "text")


def _token_logprobs(logprobs: Mapping | None) -> list[float]:
    """Log-probability of each token; empty where the server gives none, or not of all."""
    tokens = (logprobs or {}).get("content") or []
    values = [token.get("logprob") for token in tokens]
    known = all(isinstance(value, int | float) and math.isfinite(value) for value in values)
    return [float(value) for value in values] if known else []


def _count(value) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None
