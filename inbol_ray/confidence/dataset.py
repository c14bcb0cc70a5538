"""A sampled dataset as it is passed on: `answers-{digest}.parquet` (SAMPLED_ANSWERS), and `dataset.json` written last.

`dataset.json` names the model by digest, the prompts' version, the sampling parameters, library versions and counts,
and the answers by their own digest: a reader never meets the answers of one run under the description of another, nor
an upload that was cut off. Plain pyarrow, pandas and Hugging Face `datasets` read the Parquet file.
"""

import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from inbol_ray.config.machines import StorageConfig
from inbol_ray.errors import CheckpointError, DataError
from inbol_ray.rows import SAMPLED_ANSWERS
from inbol_ray.store.storage import create_folder, open_filesystem, write_whole

DESCRIPTION = "dataset.json"
SCHEMA_VERSION = SAMPLED_ANSWERS.metadata[b"schema"].decode()


def describe(answers: Path, *, model: dict, settings: dict, counts: dict, rejected: dict, packages: dict) -> dict:
    """The content of `dataset.json` for a finished Parquet file. `model` has `checkpoint` and `digest`."""
    with open(answers, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "schema": SCHEMA_VERSION,
        "answers": {
            "file": f"answers-{digest[:16]}.parquet",
            "sha256": digest,
            "num_rows": pq.read_metadata(answers).num_rows,
        },
        "model": model,
        "settings": settings,
        "counts": counts,
        "rejected": rejected,
        "packages": packages,
    }


def publish(answers: Path, description: dict, uri: str, storage: StorageConfig) -> None:
    """Write a dataset to a folder or `s3://` prefix. A reader finds the earlier one, or this one whole."""
    filesystem, folder = open_filesystem(uri, storage)
    create_folder(filesystem, folder)
    target = f"{folder}/{description['answers']['file']}"
    pafs.copy_files(str(answers), target, source_filesystem=pafs.LocalFileSystem(), destination_filesystem=filesystem)
    write_whole(filesystem, f"{folder}/{DESCRIPTION}", json.dumps(description, indent=1).encode())


def read_dataset(uri: str, storage: StorageConfig, model_digest: str, *, allow_other_checkpoint: bool) -> pa.Table:
    """The answers of a published dataset, sorted by id.

    Raises DataError where there is no whole dataset of this schema, CheckpointError where it was sampled from another
    model than `model_digest` and that is not allowed.
    """
    filesystem, folder = open_filesystem(uri, storage)
    try:
        with filesystem.open_input_file(f"{folder}/{DESCRIPTION}") as file:
            description = json.loads(file.read())
        version, entry, model = description["schema"], description["answers"], description["model"]
    except FileNotFoundError:
        raise DataError(f"{uri}: no {DESCRIPTION}; no sampled dataset was published here, or not to its end") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{uri}/{DESCRIPTION}: not the description of a sampled dataset ({error!r})") from None
    if version != SCHEMA_VERSION:
        raise DataError(f"{uri}: found schema {version!r}, expected {SCHEMA_VERSION!r}; sample it again")
    if model["digest"] != model_digest and not allow_other_checkpoint:
        raise CheckpointError(
            f"{uri}: sampled from {model['checkpoint']} ({model['digest'][:19]}), but this run trains another model "
            f"({model_digest[:19]}): what one model knows says little about another. Sample the model itself, or set "
            "sampling.allow_other_checkpoint"
        )
    with filesystem.open_input_file(f"{folder}/{entry['file']}") as file:
        data = file.read_buffer()
    if hashlib.sha256(data).hexdigest() != entry["sha256"]:
        raise DataError(f"{uri}/{entry['file']}: its SHA-256 is not the one in {DESCRIPTION}; copy the dataset again")
    table = pq.read_table(pa.BufferReader(data))
    if table.schema != SAMPLED_ANSWERS:
        raise DataError(
            f"{uri}/{entry['file']}: expected the columns {SAMPLED_ANSWERS.names}, found {table.schema.names}"
        )
    return table
