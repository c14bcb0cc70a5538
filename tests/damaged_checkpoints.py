"""Copies of a checkpoint that lack something or say something else."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

GONE = object()


def damaged(source: Path, target: Path, *changes: Callable[[Path], None]) -> Path:
    """A copy of the folder, changed."""
    shutil.copytree(source, target)
    for change in changes:
        change(target)
    return target


def edit(file: str, **values) -> Callable[[Path], None]:
    """Set keys of a JSON file; `part__key` is a key of a part, GONE removes one."""

    def change(folder: Path) -> None:
        whole = json.loads((folder / file).read_text())
        for name, value in values.items():
            *parts, key = name.split("__")
            inner = whole
            for part in parts:
                inner = inner[part]
            if value is GONE:
                inner.pop(key, None)
            else:
                inner[key] = value
        (folder / file).write_text(json.dumps(whole))

    return change


def write(file: str, content: str | bytes) -> Callable[[Path], None]:
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / file).write_bytes(data)


def remove(file: str) -> Callable[[Path], None]:
    return lambda folder: (folder / file).unlink()


def rewrite_weights(change: Callable[[dict], None]) -> Callable[[Path], None]:
    """Change the tensors, a dict by name, of model.safetensors."""

    def rewrite(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})

    return rewrite


def split_weights(folder: Path) -> None:
    """The weights as two files and their index."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    files = {name: f"model-0000{number % 2 + 1}-of-00002.safetensors" for number, name in enumerate(tensors)}
    for file in set(files.values()):
        save_file({name: tensors[name] for name in tensors if files[name] == file}, folder / file, {"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))


def write_bytes(file: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda folder: (folder / file).write_bytes(change((folder / file).read_bytes()))


WITHOUT_PROCESSOR_FIELDS = edit(
    "processor_config.json",
    patch_size=GONE,
    vision_feature_select_strategy=GONE,
    num_additional_image_tokens=GONE,
)
