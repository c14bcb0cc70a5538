"""Stages and their artifacts: what has been computed is found again by what it was computed from.

A stage is a function, the part of the configuration it depends on, and the stages it reads. Its artifact is a folder,
local or on an S3-compatible store, named after the SHA-256 of all three (the code included). It counts as finished
once `manifest.json` is in it, which is written last. Running a finished stage again does nothing; an unfinished one
starts over, keeping only its `resume/` folder.
"""

import hashlib
import importlib
import json
import os
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import pyarrow.fs as pafs

from inbol_ray.config.machines import StorageConfig
from inbol_ray.config.schema import PipelineConfig
from inbol_ray.errors import MissingInputError, RowCountError
from inbol_ray.rows import REJECTED, Rejected
from inbol_ray.runtime.progress import read_timing
from inbol_ray.store.leases import file_lock, is_leased, is_locked, object_lease, put_once
from inbol_ray.store.local_copies import local_copy, written_to
from inbol_ray.store.provenance import code_fingerprint, git_commit, package_versions
from inbol_ray.store.row_writer import RowWriter
from inbol_ray.store.storage import is_remote, open_filesystem, open_s3_client

MANIFEST = "manifest.json"
RESUME = "resume"


@dataclass(frozen=True)
class Stage:
    """One step of the pipeline. `function` is `module:name`, called with a StageContext; it returns counts to report.

    `settings` are the configuration values that change its result, as JSON values. `title` is what a user reads.
    `after` are stages that must have passed before it is run, and that change nothing of its result.
    """

    name: str
    title: str
    function: str
    settings: dict
    inputs: dict[str, "Stage"] = field(default_factory=dict)
    after: tuple["Stage", ...] = ()

    @cached_property
    def fingerprint(self) -> str:
        parts = {
            "name": self.name,
            "function": self.function,
            "settings": self.settings,
            "inputs": {key: stage.fingerprint for key, stage in self.inputs.items()},
            "code": code_fingerprint(self.function.partition(":")[0]),
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def artifact_id(self) -> str:
        return f"{self.name}-{self.fingerprint[:12]}"


@dataclass
class StageContext:
    """What a stage's function gets: the folder to write, the artifacts to read, and the configuration."""

    folder: Path
    """The driver writes here, on its own machine."""
    uri: str
    """Where the artifact's files can be read by any process, now or later: an absolute path, or an `s3://` URI. Other
    processes than the driver write to parts of it with `local_copies.written_to`."""
    input_uris: dict[str, str]
    config: PipelineConfig
    settings: dict
    progress: str
    """Artifact id, under which `progress.write_progress` reports."""
    resume: str
    """Path or `s3://` URI of a folder that survives a crash, for stages that can go on from the middle."""
    counts: dict[str, int] = field(default_factory=dict)
    rejected: Counter[str] = field(default_factory=Counter)
    """Number of rejected rows by reason."""

    @cached_property
    def _rejects(self) -> "RowWriter":
        return RowWriter(self.folder / "rejected.parquet", REJECTED)

    @property
    def inputs(self) -> Mapping[str, Path]:
        """The artifacts to read as folders on this machine; one in a store is copied when it is asked for."""
        return _LocalFolders(self.input_uris)

    def reject(self, rows: Iterable[Rejected]) -> None:
        """Write rows that the stage could not use to `rejected.parquet` and count them by reason."""
        for row in rows:
            self.rejected[row.reason] += 1
            self._rejects.write(row.to_row())

    def close(self) -> None:
        """Finish `rejected.parquet`, if anything was rejected."""
        if self.rejected:
            self._rejects.close()

    def check_rows(self, num_in: int, num_out: int) -> None:
        """Raise RowCountError unless every row that came in came out or was rejected, once."""
        if num_in != num_out + self.rejected.total():
            raise RowCountError(
                f"{self.progress}: {num_in} rows in, but {num_out} out and {self.rejected.total()} rejected"
            )

    def checkpoint(self, key: str) -> str:
        """The model of input `key`; where no stage makes it, the configured base model (absolute if it is a folder).

        May be an `s3://` URI: `local_copies.local_copy` makes it a folder.
        """
        if key in self.input_uris:
            return f"{self.input_uris[key]}/model"
        path = self.config.base_model.path
        return str(Path(path).resolve()) if Path(path).is_dir() else path


class _LocalFolders(Mapping[str, Path]):
    def __init__(self, uris: dict[str, str]) -> None:
        self._uris = uris

    def __getitem__(self, key: str) -> Path:
        return Path(local_copy(self._uris[key]))

    def __iter__(self) -> Iterator[str]:
        return iter(self._uris)

    def __len__(self) -> int:
        return len(self._uris)


class Store:
    """All artifacts of a run, in a folder or on an S3-compatible store.

    `{root}/{artifact id}/manifest.json` finishes an artifact. Its files lie beside it in a folder; in a store they lie
    under the attempt that the manifest names, since two processes may come to compute the same artifact there: the
    first manifest counts, and the other attempt is removed.
    """

    def __init__(self, root: str | Path, storage: StorageConfig | None = None) -> None:
        self.storage = storage or StorageConfig()
        self.filesystem, self._path = open_filesystem(str(root), self.storage)
        self.is_remote = is_remote(str(root))
        # Absolute: workers run in other directories than the driver.
        self.root = str(root).rstrip("/") if self.is_remote else self._path

    def manifest(self, stage: Stage) -> dict | None:
        """The manifest of a finished stage, or None."""
        return self.read_manifest(stage.artifact_id)

    def read_manifest(self, artifact_id: str) -> dict | None:
        """The manifest of an artifact, or None unless it is finished."""
        try:
            with self.filesystem.open_input_file(f"{self._path}/{artifact_id}/{MANIFEST}") as file:
                return json.loads(file.read())
        except FileNotFoundError:
            return None

    def uri(self, stage: Stage) -> str:
        """Where a finished stage's files are. Raises MissingInputError for one that is not finished."""
        if not self.is_remote:
            return f"{self.root}/{stage.artifact_id}"
        manifest = self.manifest(stage)
        if manifest is None:
            raise MissingInputError(f"{self.root}/{stage.artifact_id}: not finished")
        return f"{self.root}/{stage.artifact_id}/{manifest['attempt']}"

    def folder(self, stage: Stage) -> Path:
        """A stage's files as a folder on this machine."""
        return Path(local_copy(self.uri(stage), self.storage))

    def compute(self, stage: Stage, config: PipelineConfig) -> dict:
        """Run a stage whose inputs are finished, unless it is finished itself; returns its manifest.

        Two processes may ask for the same artifact: one computes it, the other waits.
        Raises MissingInputError, and whatever the stage raises.
        """
        for key, source in stage.inputs.items():
            if self.manifest(source) is None:
                raise MissingInputError(
                    f"stage {stage.name!r} reads {key!r} from stage {source.name!r}, which has not been computed for "
                    f"this configuration: run it first (python jobs/pipeline.py runs all that is missing)"
                )
        with self._alone(stage):
            if manifest := self.manifest(stage):
                return manifest
            home = f"{self.root}/{stage.artifact_id}"
            attempt = uuid.uuid4().hex[:12] if self.is_remote else ""
            if not self.is_remote:
                _clear_unfinished(Path(home))
                (Path(home) / RESUME).mkdir(exist_ok=True)
            uri = f"{home}/{attempt}".rstrip("/")
            started = time.monotonic()
            with written_to(uri, self.storage) as folder:
                context = StageContext(
                    folder=folder,
                    uri=uri,
                    input_uris={key: self.uri(source) for key, source in stage.inputs.items()},
                    config=config,
                    settings=stage.settings,
                    progress=stage.artifact_id,
                    resume=f"{home}/{RESUME}",
                )
                module, _, function = stage.function.partition(":")
                context.counts.update(getattr(importlib.import_module(module), function)(context) or {})
                context.close()
            return self._finish(stage, context, attempt, time.monotonic() - started)

    def _finish(self, stage: Stage, context: StageContext, attempt: str, wall_s: float) -> dict:
        home = f"{self._path}/{stage.artifact_id}"
        self._delete(f"{home}/{RESUME}")
        manifest = {
            "stage": stage.name,
            "artifact": stage.artifact_id,
            "attempt": attempt,
            "fingerprint": stage.fingerprint,
            "settings": stage.settings,
            "inputs": {key: source.artifact_id for key, source in stage.inputs.items()},
            "counts": context.counts,
            "rejected": dict(context.rejected),
            "bytes": self._num_bytes(f"{home}/{attempt}".rstrip("/")),
            "wall_s": round(wall_s, 2),
            "timing": read_timing(stage.artifact_id),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "git_commit": git_commit(),
            "packages": package_versions(),
        }
        text = json.dumps(manifest, indent=1)
        if self.is_remote:
            bucket, _, key = f"{home}/{MANIFEST}".partition("/")
            if not put_once(open_s3_client(self.storage), bucket, key, text.encode()):
                self._delete(f"{home}/{attempt}")
                return self.manifest(stage)
        else:
            partial = Path(home) / f".{MANIFEST}"
            partial.write_text(text)
            os.replace(partial, Path(home) / MANIFEST)
        return manifest

    def names(self) -> list[str]:
        """Ids of all artifacts, finished or not."""
        infos = self.filesystem.get_file_info(pafs.FileSelector(self._path, allow_not_found=True))
        return sorted(
            info.base_name
            for info in infos
            if info.type == pafs.FileType.Directory and not info.base_name.startswith(".")
        )

    def attempts(self, artifact_id: str) -> list[str]:
        """Attempts at an artifact in a store whose files are still there."""
        infos = self.filesystem.get_file_info(pafs.FileSelector(f"{self._path}/{artifact_id}", allow_not_found=True))
        folders = [info.base_name for info in infos if info.type == pafs.FileType.Directory]
        return [name for name in folders if name != RESUME] if self.is_remote else []

    def is_being_computed(self, artifact_id: str) -> bool:
        """Whether some process holds the lock or a living lease of an artifact."""
        if not self.is_remote:
            return is_locked(Path(self.root) / f".{artifact_id}.lock")
        bucket, _, key = f"{self._path}/.leases/{artifact_id}".partition("/")
        return is_leased(open_s3_client(self.storage), bucket, key)

    def num_bytes(self, artifact_id: str) -> int:
        """What an artifact occupies, finished or not."""
        return self._num_bytes(f"{self._path}/{artifact_id}")

    def delete(self, artifact_id: str, attempt: str = "") -> None:
        """Remove an artifact, or one attempt at it. The manifest goes first: what is half removed is not finished."""
        home = f"{self._path}/{artifact_id}"
        if not attempt and self.filesystem.get_file_info(f"{home}/{MANIFEST}").is_file:
            self.filesystem.delete_file(f"{home}/{MANIFEST}")
        self._delete(f"{home}/{attempt}".rstrip("/"))

    def _num_bytes(self, path: str) -> int:
        infos = self.filesystem.get_file_info(pafs.FileSelector(path, recursive=True, allow_not_found=True))
        return sum(info.size for info in infos if info.is_file)

    def _delete(self, path: str) -> None:
        if self.filesystem.get_file_info(path).type == pafs.FileType.Directory:
            self.filesystem.delete_dir(path)

    def _alone(self, stage: Stage) -> AbstractContextManager[None]:
        if not self.is_remote:
            return file_lock(Path(self.root) / f".{stage.artifact_id}.lock")
        bucket, _, key = f"{self._path}/.leases/{stage.artifact_id}".partition("/")
        return object_lease(open_s3_client(self.storage), bucket, key)


def home_of(uri: str) -> str:
    """`{root}/{artifact id}`, where the manifest is, of the URI where an artifact's files are."""
    return uri.rpartition("/")[0] if is_remote(uri) else uri


def open_store(config: PipelineConfig) -> Store:
    """The artifacts of a configuration."""
    return Store(f"{config.output_dir.rstrip('/')}/artifacts", config.storage)


def _clear_unfinished(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.name == RESUME:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
