"""Artifacts in a store as folders on this machine, for code that only reads and writes folders (vLLM, transformers).

s3:// folder -> local_copy -> path in this machine's cache        written_to -> temporary folder -> s3:// folder

Local paths pass through both. What lies under an artifact's URI never changes, so a copy never goes stale.
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.fs as pafs

from inbol_ray.config.machines import StorageConfig
from inbol_ray.errors import MissingInputError
from inbol_ray.storage import create_folder, is_remote, open_filesystem

CACHE_VARIABLE = "INBOL_RAY_CACHE"
"""Folder of the copies; by default one in the machine's temporary folder."""
STORAGE_VARIABLE = "INBOL_RAY_STORAGE"
"""The run's `storage` section as JSON, in the driver and in all its workers, so that any process can open any artifact.
It holds no keys: each machine has credentials of its own."""


def set_job_storage(storage: StorageConfig) -> dict[str, str]:
    """Make this process one of a run with this `storage` section; returns the variable for the run's other processes."""
    variable = {STORAGE_VARIABLE: storage.model_dump_json()}
    os.environ |= variable
    return variable


def job_storage() -> StorageConfig:
    """The `storage` section of the run that this process belongs to."""
    text = os.environ.get(STORAGE_VARIABLE)
    return StorageConfig.model_validate_json(text) if text else StorageConfig()


def local_copy(reference: str, storage: StorageConfig | None = None) -> str:
    """Path of a folder's content on this machine; what is not in a store (a path, a hub name) comes back as it is.

    `storage` is the run's unless given. Processes that ask for the same folder copy it once. Raises MissingInputError
    when nothing is there.
    """
    if not is_remote(reference):
        return reference
    cache = Path(os.environ.get(CACHE_VARIABLE) or Path(tempfile.gettempdir()) / f"inbol_ray-{os.getuid()}")
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    filesystem, source = open_filesystem(reference, storage or job_storage())
    digest = hashlib.sha256(reference.encode()).hexdigest()[:16]
    folder = cache / f"{source.replace('/', '~')[-100:]}-{digest}"
    if folder.is_dir():
        return str(folder)
    with open(cache / f".{digest}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            if not filesystem.get_file_info(pafs.FileSelector(source, recursive=True, allow_not_found=True)):
                raise MissingInputError(f"{reference}: nothing is stored there; was the artifact removed?")
            partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=cache))
            try:
                copy_folder(reference, str(partial), storage)
                os.replace(partial, folder)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
    return str(folder)


@contextmanager
def written_to(uri: str, storage: StorageConfig | None = None) -> Iterator[Path]:
    """A folder to write files into, which are at `uri` once the block ends without an exception."""
    if not is_remote(uri):
        Path(uri).mkdir(parents=True, exist_ok=True)
        yield Path(uri)
        return
    with tempfile.TemporaryDirectory(prefix="inbol_ray-") as folder:
        yield Path(folder)
        copy_folder(folder, uri, storage)


def copy_folder(source: str, target: str, storage: StorageConfig | None = None) -> None:
    """Copy the files of a folder into another, each a path or `s3://` URI; of what is there, equal names go."""
    from_filesystem, from_path = open_filesystem(source, storage or job_storage())
    to_filesystem, to_path = open_filesystem(target, storage or job_storage())
    create_folder(to_filesystem, to_path)
    pafs.copy_files(from_path, to_path, from_filesystem, to_filesystem)
