"""Whether a checkpoint's weight files hold the whole model; only their headers are read."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedConfig

from inbol_ray.errors import CheckpointError
from inbol_ray.models import family_of_type
from inbol_ray.models.loading import describe_unfit_weights

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLED = ("*.bin", "*.pt", "*.pth")


def weight_problems(folder: Path, config: PreTrainedConfig, *, may_download: bool) -> list[str]:
    """One line for each problem. With `may_download`, of a hub name, files that are not here yet are no problem."""
    try:
        tensors = _read_headers(folder, may_download)
    except CheckpointError as error:
        return [str(error)]
    if tensors is None:
        return []
    problems = []
    if unfit := describe_unfit_weights(_match_names(config, tensors)):
        problems.append(f"{folder}: {unfit}")
    if foreign := family_of_type(config.model_type).tensor_name_problem(tensors):
        problems.append(f"{folder}: {foreign}")
    return problems


def _read_headers(folder: Path, may_download: bool) -> dict[str, torch.Tensor | None] | None:
    """Every tensor by its name, on the meta device; None for one whose file is still to be downloaded.

    None instead of all of them where nothing is known yet. Raises CheckpointError.
    """
    if (folder / WEIGHTS).exists():
        return _read_header(folder / WEIGHTS)
    if not (folder / INDEX).exists():
        pickled = sorted(path.name for pattern in PICKLED for path in folder.glob(pattern))
        if not pickled and may_download:
            return None
        found = f"only pickled weights ({pickled[0]}), which can run code" if pickled else "no weights"
        raise CheckpointError(
            f"{folder}: found {found}, expected {WEIGHTS} or {INDEX} with its files; convert or download them "
            "(model.save_pretrained writes safetensors)"
        )
    tensors: dict[str, torch.Tensor | None] = {}
    headers: dict[str, dict] = {}
    for name, file in _read_index(folder / INDEX).items():
        path = folder / file
        if file not in headers and (path.exists() or not may_download):
            headers[file] = _read_header(path)
        if file in headers and name not in headers[file]:
            raise CheckpointError(f"{path}: {name} is not in it, though {INDEX} says so; download both again")
        tensors[name] = headers[file][name] if file in headers else None
    return tensors


def _read_index(path: Path) -> dict[str, str]:
    """File by tensor."""
    try:
        files = json.loads(path.read_text())["weight_map"]
        if not isinstance(files, dict) or not all(Path(file).name == file for file in files.values()):
            raise ValueError("weight_map names no files of this folder")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path}: {type(error).__name__}: {error}; expected weight_map, the file of each tensor: download it again"
        ) from None
    return files


def _read_header(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file, on the meta device. A file cut off at its end has no valid header either."""
    if not path.exists():
        raise CheckpointError(f"{path}: missing, though {INDEX} names it; copy or download it")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: torch.empty(file.get_slice(name).get_shape(), device="meta") for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        with open(path, "rb") as file:
            is_pointer = file.read(40).startswith(b"version https://git-lfs")
        mend = "run git lfs pull" if is_pointer else "copy or download it again"
        raise CheckpointError(f"{path}: no whole safetensors file ({error}); {mend}") from None


def _match_names(config: PreTrainedConfig, tensors: Mapping[str, torch.Tensor | None]) -> dict:
    """transformers' own loading info: which of the model's weights these tensors leave out, which have another shape."""
    known = {name: torch.empty(0, device="meta") if tensor is None else tensor for name, tensor in tensors.items()}
    _, loaded = (
        family_of_type(config.model_type)
        .model_class()
        .from_pretrained(
            None,
            config=config,
            state_dict=known,
            device_map="meta",
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    )
    if None in tensors.values():
        loaded["mismatched_keys"] = []
    return loaded
