"""What an engine can load, and the name by which its answers are known: the digest of a checkpoint's files."""

import hashlib
import os
from functools import lru_cache
from pathlib import Path

from inbol_ray.errors import CheckpointError
from inbol_ray.store.local_copies import local_copy

READ_SUFFIXES = (".safetensors", ".json", ".model", ".jinja", ".txt")
"""Files of a model folder that an engine may read. Pickled weights are not among them."""


def check_checkpoint(checkpoint: str) -> None:
    """Raise CheckpointError for a local folder without what an engine needs; hub names pass."""
    if not os.path.isdir(checkpoint):
        if os.path.isabs(checkpoint):
            raise CheckpointError(
                f"{checkpoint}: no such folder; expected a model folder in the hub's layout or a hub name"
            )
        return
    for name in ("config.json", "tokenizer_config.json", "processor_config.json"):
        alternatives = (name, "preprocessor_config.json") if name.startswith("processor") else (name,)
        if not any(os.path.exists(os.path.join(checkpoint, option)) for option in alternatives):
            raise CheckpointError(
                f"{checkpoint}: {name} is missing; expected a folder in the hub's layout with weights, tokenizer and processor. "
                "Save the processor beside the model (processor.save_pretrained)"
            )


@lru_cache
def model_digest(checkpoint: str) -> str:
    """`sha256:...` of a folder's files, local or `s3://`, `hub:NAME@COMMIT` of a hub name. Two models never share one.

    Reads every byte of the weights, about ten seconds for 14 GB. Raises CheckpointError where nothing is to be read.
    """
    folder = Path(local_copy(checkpoint))
    check_checkpoint(str(folder))
    if not folder.is_dir():
        return f"hub:{checkpoint}@{hub_snapshot(checkpoint).name}"
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in READ_SUFFIXES:
            with open(path, "rb") as file:
                digest.update(f"{path.name}\0".encode() + hashlib.file_digest(file, "sha256").digest())
    return f"sha256:{digest.hexdigest()}"


def hub_snapshot(name: str) -> Path:
    """Folder of a hub model's small files, by the name of its commit: no weights, unless the cache has them already.

    Raises CheckpointError for what neither the hub nor its cache has.
    """
    from huggingface_hub import snapshot_download

    patterns = [f"*{suffix}" for suffix in READ_SUFFIXES if suffix != ".safetensors"]
    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{name}: neither a folder nor a model that the hub or its cache has ({error})") from None
