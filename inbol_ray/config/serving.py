"""What the server offers, and how."""

from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from inbol_ray.config.section import Fraction, OpenFraction, Section


class ServedModel(Section):
    """One model that the server offers under its name."""

    method: str | None = None
    """The checkpoint that the pipeline made: `original` or an entry of `training`."""
    path: str | None = None
    """A llava-hf folder or hub name instead of a method."""
    lora: str | None = None
    """Folder of a LoRA adapter to serve on that checkpoint."""
    calibration: str | None = None
    """Calibration file of `jobs/calibrate.py`; null takes the pipeline's own for `method` where it has been made."""
    answer_suffix: bool | None = None
    """Append LLaVA-1.5's answer instruction to what users ask: for the option's letter where the text ends in lettered
    options, else for a word or phrase; text that ends with one already keeps it. null: as the model's calibration was
    made, without a calibration no. A target risk only holds for requests that are asked as calibration asked."""
    target_risk: OpenFraction | None = None
    """Largest error rate among answered questions, for requests that name none; needs a calibration."""
    threshold: Fraction | None = None
    """Least confidence for an answer, in place of `target_risk`; both null leave the decision to the model."""

    @model_validator(mode="after")
    def _one_source(self) -> "ServedModel":
        if (self.method is None) == (self.path is None):
            raise ValueError("give one of `method` and `path`")
        if self.target_risk is not None and self.threshold is not None:
            raise ValueError("give `target_risk` or `threshold`, not both")
        if self.lora is not None and (self.calibration is not None or self.target_risk is not None):
            raise ValueError("a calibration belongs to a checkpoint: merge the adapter and calibrate the result")
        return self


class ServingConfig(Section):
    """The OpenAI-compatible server (`make serve`)."""

    models: Annotated[dict[str, ServedModel], Field(min_length=1)]
    """Models by the name that clients give; the first one answers requests that name none."""
    host: str = "127.0.0.1"
    """Address to listen on. Any other than this machine's own needs API keys."""
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    api_keys_file: str | None = None
    """File with one API key a line; further keys come from the variable INBOL_API_KEYS, separated by commas."""
    image_origins: list[Annotated[str, Field(pattern=r"^https?://[a-z0-9.-]*[a-z](:[0-9]+)?$")]] = []
    """Where `image_url` may point besides data URIs, for example `https://images.example.com`; public addresses only."""
    max_body_bytes: PositiveInt = 12 << 20
    max_image_pixels: PositiveInt = 16_000_000
    """Largest image, as the pixels of the square that it is padded to."""
    max_tokens: PositiveInt = 16
    """Longest reply where a request does not say. Under a target risk it is that of the calibration."""
    max_samples: Annotated[int, Field(ge=2, le=64)] = 16
    """Most samples that a request for `agreement` may ask for."""
    max_ongoing: PositiveInt = 32
    """Requests that a replica works on at once."""
    max_queued: PositiveInt = 64
    """Requests that wait in a replica for their turn; one more gets 429."""
    request_timeout_s: PositiveFloat = 60.0
    drain_timeout_s: PositiveFloat = 30.0
    """How long requests in flight may take when a replica is stopped."""
    min_replicas: PositiveInt = 1
    """Replicas at least; each has an engine for every checkpoint."""
    max_replicas: PositiveInt = 1
    target_ongoing: PositiveFloat = 16
    """Ongoing requests a replica that autoscaling aims at."""

    @model_validator(mode="after")
    def _consistent(self) -> "ServingConfig":
        if self.min_replicas > self.max_replicas:
            raise ValueError(f"min_replicas ({self.min_replicas}) must not exceed max_replicas ({self.max_replicas})")
        return self
