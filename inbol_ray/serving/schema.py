"""What a client may send, as pydantic models: the OpenAI chat fields that a short, greedy image answer needs.

A request is checked against a list of what is allowed. vLLM's own schema takes far more (chat templates, processor
options, prompt embeddings); none of it comes from outside.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import from_json

from inbol_ray.config.section import Fraction, OpenFraction
from inbol_ray.serving.answer import Signal

MAX_MESSAGES = 64
MAX_PARTS = 64
MAX_NEW_TOKENS = 4096


class RequestError(Exception):
    """A request that is answered with an OpenAI-style error; the message is for the client."""

    def __init__(self, status: int, message: str, *, param: str | None = None, retry_after_s: int | None = None):
        super().__init__(status, message)
        self.status, self.message, self.param, self.retry_after_s = status, message, param, retry_after_s

    def body(self) -> dict:
        """The body that OpenAI clients expect."""
        kind = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
        fallback = "invalid_request_error" if self.status < 500 else "server_error"
        error = {"message": self.message, "type": kind.get(self.status, fallback), "param": self.param}
        return {"error": error | {"code": self.status}}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class TextPart(_Part):
    type: Literal["text"]
    text: str


class ImageUrl(_Part):
    url: str
    detail: Literal["auto", "low", "high"] | None = None


class ImagePart(_Part):
    type: Literal["image_url"]
    image_url: ImageUrl


class Message(_Part):
    """A turn; one of `system` may stand before the user's first."""

    role: Literal["system", "user", "assistant"]
    content: (
        str
        | Annotated[
            list[Annotated[TextPart | ImagePart, Field(discriminator="type")]],
            Field(min_length=1, max_length=MAX_PARTS),
        ]
    )
    name: str | None = None
    refusal: str | None = None

    def parts(self) -> list[TextPart | ImagePart]:
        return [TextPart(type="text", text=self.content)] if isinstance(self.content, str) else list(self.content)


class StreamOptions(_Part):
    include_usage: bool = False


class DialOptions(_Part):
    """The dial: how sure the model must be to answer. At most one of `target_risk` and `threshold`."""

    target_risk: OpenFraction | None = None
    """Largest error rate among answered questions, at most; needs a calibrated model."""
    threshold: Fraction | None = None
    """Least confidence for an answer: 0 answers everything, 1 next to nothing."""
    signal: Signal = "first_token"
    """`first_token`: 1 - P(refusal). `agreement`: share of samples that say the same as the answer."""
    num_samples: Annotated[int, Field(ge=2)] | None = None
    """Samples for `agreement`; the calibrated number by default."""

    @model_validator(mode="after")
    def _one_dial(self) -> "DialOptions":
        if self.target_risk is not None and self.threshold is not None:
            raise ValueError("give target_risk or threshold, not both")
        if self.num_samples is not None and self.signal != "agreement":
            raise ValueError("num_samples needs signal 'agreement'")
        return self


NonEmpty = Annotated[str, Field(min_length=1)]


class ChatRequest(_Part):
    """The body of `POST /v1/chat/completions`."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=MAX_MESSAGES)]
    model: str | None = None
    max_tokens: Annotated[int, Field(ge=1, le=MAX_NEW_TOKENS)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=MAX_NEW_TOKENS)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    stop: NonEmpty | Annotated[list[NonEmpty], Field(max_length=4)] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    """Makes the draws of a `temperature` above 0 repeat, as far as the engine's logits do."""
    n: Literal[1] = 1
    user: str | None = None
    inbol: DialOptions | None = None

    @field_validator("temperature", "top_p", mode="before")
    @classmethod
    def _whole_numbers_are_numbers(cls, value):
        return float(value) if type(value) is int and abs(value) < 10 else value

    @model_validator(mode="after")
    def _consistent(self) -> "ChatRequest":
        roles = [message.role for message in self.messages]
        dialogue = roles[1:] if roles[0] == "system" else roles
        if dialogue != (["user", "assistant"] * len(roles))[: len(dialogue)] or roles[-1] != "user":
            raise ValueError("messages must alternate between user and assistant and end with the user's")
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options needs stream: true")
        return self


def parse_request(raw: bytes) -> ChatRequest:
    """Raises RequestError (400) that names the wrong field; what was sent is not repeated."""
    try:
        body = from_json(raw, allow_inf_nan=False)  # also refuses lone surrogates and nesting without end
    except ValueError:
        raise RequestError(400, "the body is not valid JSON") from None
    if not isinstance(body, dict):
        raise RequestError(400, "the body must be a JSON object")
    try:
        return ChatRequest.model_validate(body)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(step) for step in fault["loc"])
        message = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            message = "this field is not supported"
        raise RequestError(400, f"{where[:200] or 'body'}: {message}", param=where[:200] or None) from None
