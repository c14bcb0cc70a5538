"""Which family a checkpoint belongs to."""

import json
from pathlib import Path
from typing import Any

from inbol_ray.errors import CheckpointError
from inbol_ray.models.family import ModelFamily
from inbol_ray.models.llava import LLAVA

FAMILIES: tuple[ModelFamily, ...] = (LLAVA,)
CONFIG = "config.json"


def family_of(checkpoint: str) -> ModelFamily:
    """The family of a folder or a hub name, from `model_type` in its config.json. Raises CheckpointError."""
    path = _config_file(checkpoint)
    return family_of_config(read_config(path), path)


def family_of_type(model_type: str) -> ModelFamily:
    """The family of a loaded model, by `model.config.model_type`. Raises CheckpointError."""
    return family_of_config({"model_type": model_type}, Path(CONFIG))


def family_of_config(config: dict[str, Any], path: Path) -> ModelFamily:
    """The family that the contents of a config.json belong to; `path` is for the message. Raises CheckpointError."""
    for family in FAMILIES:
        if family.claims(config):
            return family
    known = ", ".join(family.name for family in FAMILIES)
    raise CheckpointError(
        f"{path}: model_type is {config.get('model_type')!r}, which belongs to no supported model family (known: "
        f"{known}); choose a checkpoint of one of them, such as {', '.join(family.example for family in FAMILIES)}"
    )


def read_config(path: Path) -> dict[str, Any]:
    """The contents of a config.json. Raises CheckpointError."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: no JSON ({' '.join(f'{type(error).__name__}: {error}'.split())}); expected the configuration of a "
            "model: copy or download the checkpoint again"
        ) from None
    if not isinstance(config, dict):
        raise CheckpointError(f"{path}: found {type(config).__name__}, expected a JSON object; download it again")
    return config


def _config_file(checkpoint: str) -> Path:
    folder = Path(checkpoint)
    if folder.is_dir():
        return folder / CONFIG
    from transformers.utils import cached_file

    try:
        return Path(str(cached_file(checkpoint, CONFIG)))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{checkpoint}: neither a folder nor a model that the hub or its cache has ({error})"
        ) from None
