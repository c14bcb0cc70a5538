"""A model behind an OpenAI-compatible chat-completions API."""

import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field, JsonValue, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from inbol_ray.config.section import RunOnly, Section

OWN_FIELDS = frozenset(
    {"model", "messages", "temperature", "max_tokens", "max_completion_tokens", "logprobs", "n", "stream"}
)
"""Fields of a request that are not the configuration's to set."""
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")


class EndpointConfig(Section):
    """An OpenAI-compatible server: vLLM, SGLang, our own, or a commercial one."""

    url: str
    """Base URL, for example `http://127.0.0.1:8000/v1`: requests go to `{url}/chat/completions`."""
    model: Annotated[str, Field(min_length=1)]
    """Name by which the server knows the model."""
    api_key_env: RunOnly[str | None] = None
    """Environment variable, on the machine of the driver, that holds the API key; null sends none."""
    max_concurrency: RunOnly[PositiveInt] = 8
    """Requests under way at the same time."""
    requests_per_minute: RunOnly[PositiveFloat | None] = None
    """Requests sent in a minute, evenly, retries included; null sets no limit."""
    timeout_s: RunOnly[PositiveFloat] = 120
    """Seconds for one try of one request."""
    max_retries: RunOnly[NonNegativeInt] = 8
    """Further tries after a timeout, a broken connection, or a status 408, 409, 429 or 5xx."""
    keep_failures: RunOnly[bool] = False
    """Record a question as an error when all its tries have failed; false stops the run after the other questions, and
    the next run asks those again."""
    price_per_million_input_tokens: NonNegativeFloat | None = None
    """In any currency; with the price of output tokens, the cost is reported."""
    price_per_million_output_tokens: NonNegativeFloat | None = None
    extra_body: dict[str, JsonValue] = {}
    """Further fields of every request, for example `{add_special_tokens: true}`, which vLLM needs for LLaVA."""

    @model_validator(mode="before")
    @classmethod
    def _no_key(cls, values: Any) -> Any:
        if isinstance(values, dict) and "api_key" in values:
            raise ValueError(
                "a key does not belong in a configuration: put it into an environment variable, and name "
                "that in api_key_env"
            )
        return values

    # After all fields, so that a wrong URL or key, which may hold a secret, is not quoted as a field's value would be.
    @model_validator(mode="after")
    def _well_formed(self) -> "EndpointConfig":
        _check_url(self.url)
        if self.api_key_env is not None and not _VARIABLE.fullmatch(self.api_key_env):
            raise ValueError(
                "api_key_env must be the name of an environment variable (capitals, digits, underscores), not the key "
                "itself; what was found is not shown here, in case it is one"
            )
        if clash := sorted(OWN_FIELDS & self.extra_body.keys()):
            raise ValueError(f"extra_body: {clash} are set from the evaluation's settings; remove them")
        if (self.price_per_million_input_tokens is None) != (self.price_per_million_output_tokens is None):
            raise ValueError("give the prices of input and of output tokens, or neither")
        return self

    @property
    def name(self) -> str:
        """What results call it."""
        return f"{self.model} at {self.url}"

    def reply_settings(self) -> dict[str, Any]:
        """What its replies depend on."""
        return {"url": self.url, "model": self.model, "extra_body": self.extra_body}


def _check_url(url: str) -> None:
    """Raise ValueError, without the URL in it, for one that is no plain base URL."""
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:
        has_host = False
    if not has_host or parts.scheme not in ("http", "https") or not url.isascii() or any(char <= " " for char in url):
        raise ValueError("url must be an http or https URL such as https://api.example.com/v1")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError(
            "url holds credentials, a query or a fragment; leave them out: a key belongs in the environment variable "
            "that api_key_env names"
        )
    if url.endswith(("/", "/chat/completions")):
        raise ValueError("url must be the base URL, without a slash or /chat/completions at its end")
