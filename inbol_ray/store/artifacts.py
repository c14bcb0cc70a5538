"""Where artifacts are kept: what has been computed is found again by its name.

An artifact is a folder, local or on an S3-compatible store, named after what it was computed from (`runtime.stage`). It
counts as finished once `manifest.json` is in it, which is written last. Computing a finished one again does nothing; an
unfinished one starts over, keeping only its `resume/` folder.
"""

import json
import os
import shutil
import uuid
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import pyarrow.fs as pafs

from inbol_ray.config.machines import StorageConfig
from inbol_ray.config.schema import PipelineConfig
from inbol_ray.errors import MissingInputError
from inbol_ray.store.leases import file_lock, is_leased, is_locked, object_lease, put_once
from inbol_ray.store.local_copies import local_copy
from inbol_ray.store.storage import is_remote, open_filesystem, open_s3_client

MANIFEST = "manifest.json"
RESUME = "resume"


class Artifact(Protocol):
    """What a store keeps: anything with a name of its own, such as a `runtime.stage.Stage`."""

    @property
    def artifact_id(self) -> str: ...


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

    def manifest(self, artifact: Artifact) -> dict | None:
        """The manifest of a finished artifact, or None."""
        return self.read_manifest(artifact.artifact_id)

    def read_manifest(self, artifact_id: str) -> dict | None:
        """The manifest of an artifact, or None unless it is finished."""
        try:
            with self.filesystem.open_input_file(f"{self._path}/{artifact_id}/{MANIFEST}") as file:
                return json.loads(file.read())
        except FileNotFoundError:
            return None

    def uri(self, artifact: Artifact) -> str:
        """Where a finished artifact's files are. Raises MissingInputError for one that is not finished."""
        if not self.is_remote:
            return f"{self.root}/{artifact.artifact_id}"
        manifest = self.manifest(artifact)
        if manifest is None:
            raise MissingInputError(f"{self.root}/{artifact.artifact_id}: not finished")
        return f"{self.root}/{artifact.artifact_id}/{manifest['attempt']}"

    def folder(self, artifact: Artifact) -> Path:
        """An artifact's files as a folder on this machine."""
        return Path(local_copy(self.uri(artifact), self.storage))

    def begin(self, artifact: Artifact) -> str:
        """Make room for an attempt at an artifact, what an earlier one left (but for its `resume/`) removed; returns the
        URI of the folder to write. Call it within `alone`."""
        home = f"{self.root}/{artifact.artifact_id}"
        if self.is_remote:
            return f"{home}/{uuid.uuid4().hex[:12]}"
        _clear_unfinished(Path(home))
        (Path(home) / RESUME).mkdir(exist_ok=True)
        return home

    def resume_uri(self, artifact: Artifact) -> str:
        """Folder of an artifact that survives a crash, until the artifact is finished."""
        return f"{self.root}/{artifact.artifact_id}/{RESUME}"

    def finish(self, artifact: Artifact, uri: str, manifest: dict) -> dict:
        """Write the manifest of an attempt at `uri`, with what it occupies; returns that of the attempt that counts."""
        home = f"{self._path}/{artifact.artifact_id}"
        attempt = uri.rpartition("/")[2] if self.is_remote else ""
        self._delete(f"{home}/{RESUME}")
        manifest = {"attempt": attempt, "bytes": self._num_bytes(f"{home}/{attempt}".rstrip("/"))} | manifest
        text = json.dumps(manifest, indent=1)
        if self.is_remote:
            bucket, _, key = f"{home}/{MANIFEST}".partition("/")
            if not put_once(open_s3_client(self.storage), bucket, key, text.encode()):
                self._delete(f"{home}/{attempt}")
                return self.manifest(artifact)
        else:
            partial = Path(home) / f".{MANIFEST}"
            partial.write_text(text)
            os.replace(partial, Path(home) / MANIFEST)
        return manifest

    def beside(self, name: str) -> str:
        """Folder or `s3://` prefix next to this store, for what the artifacts of a run share."""
        return f"{self.root.rpartition('/')[0]}/{name}"

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

    def alone(self, artifact: Artifact) -> AbstractContextManager[None]:
        """While this is held, no other process computes the artifact: it waits."""
        if not self.is_remote:
            return file_lock(Path(self.root) / f".{artifact.artifact_id}.lock")
        bucket, _, key = f"{self._path}/.leases/{artifact.artifact_id}".partition("/")
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
