"""The parts of a loaded model that training treats in different ways, by the names that its family gives them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inbol_ray.models.registry import family_of_type

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Parts:
    """Modules of a model, adapters included where it has them."""

    vision_tower: nn.Module
    projector: nn.Module
    language_model: nn.Module
    head: nn.Module
    """From hidden states to logits."""
    vision_layers: nn.ModuleList
    text_layers: nn.ModuleList


def base_of(model: nn.Module) -> Any:
    """The transformers model inside a PEFT wrapper, or the model itself."""
    base: Any = model
    return base.get_base_model() if hasattr(base, "get_base_model") else base


def parts_of(model: nn.Module) -> Parts:
    """The parts of a model, PEFT's wrapper around it or not. Raises CheckpointError for an unknown family."""
    base = base_of(model)
    paths = family_of_type(base.config.model_type).modules
    return Parts(**{part: base.get_submodule(path) for part, path in vars(paths).items()})
