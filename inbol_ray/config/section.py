"""What all sections of the configuration share."""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

T = TypeVar("T")
_RUN_ONLY = "run only"
RunOnly = Annotated[T, _RUN_ONLY]
"""Type of a field that says where, how fast or how safely a run computes, and changes no result beyond rounding: work
that is finished stays finished when it changes."""

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


def result_settings(section: Section) -> dict[str, Any]:
    """What results depend on, as JSON values: every field that is not `RunOnly`, at any depth."""
    return {
        name: _result_value(getattr(section, name))
        for name, field in type(section).model_fields.items()
        if _RUN_ONLY not in field.metadata
    }


def _result_value(value: Any) -> Any:
    if isinstance(value, Section):
        return result_settings(value)
    if isinstance(value, dict):
        return {key: _result_value(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_result_value(entry) for entry in value]
    return value
