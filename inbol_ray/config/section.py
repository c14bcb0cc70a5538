"""What all sections of the configuration share."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
OpenFraction = Annotated[float, Field(gt=0.0, lt=1.0)]
Device = Literal["auto", "cpu", "cuda"]
"""What a process computes on: `auto` is the GPU that it reserves, the CPU where it reserves none. `cpu` computes there
whatever is reserved, so that a cluster of logical GPUs runs the very placement of a real one, with gloo."""


def compute_device(device: Device, num_gpus: float | None) -> Literal["cpu", "cuda"]:
    """`device` decided for a process that reserves `num_gpus` GPUs."""
    return device if device != "auto" else "cuda" if num_gpus else "cpu"


class Section(BaseModel):
    """A group of settings: unknown keys are errors, values cannot change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True)
