"""A model that judges replies beside the rules."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, PositiveInt, model_validator

from inbol_ray.config.endpoint import EndpointConfig
from inbol_ray.config.section import Section

Verdict = Literal["refusal", "correctness"]
"""What is judged: whether a reply declines to answer, whether an answer is right."""


class JudgeConfig(Section):
    """A model asked whether evaluation's replies refuse or are right; exactly one of `checkpoint` and `endpoint`."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    judges: Annotated[Literal["refusal", "correctness", "both"], Field(alias="for")] = "refusal"
    """Written `for`: what it judges. Correctness is judged by the reference answers, not by the image."""
    which: Literal["unsure", "all"] = "unsure"
    """Replies that the rules are unsure of (`judging.select` says which), or all."""
    checkpoint: str | None = None
    """Local folder or hub name in the hub's llava-hf layout."""
    endpoint: EndpointConfig | None = None
    """An OpenAI-compatible server."""
    max_tokens: PositiveInt = 16
    """Longest verdict; a model that thinks aloud first needs more."""

    @model_validator(mode="after")
    def _one_source(self) -> "JudgeConfig":
        if (self.checkpoint is None) == (self.endpoint is None):
            raise ValueError("a judge needs exactly one of checkpoint and endpoint")
        return self

    @property
    def kinds(self) -> tuple[Verdict, ...]:
        return ("refusal", "correctness") if self.judges == "both" else (self.judges,)

    @property
    def name(self) -> str:
        return self.endpoint.name if self.endpoint else self.checkpoint
