"""Artifacts in a store as folders on this machine, for code that only reads and writes folders (vLLM, transformers).

s3:// folder -> local_copy -> path in this machine's cache        written_to -> temporary folder -> s3:// folder

Local paths pass through both. What lies under an artifact's URI never changes, so a copy never goes stale. Copies stay
for the next process that asks, up to a bound (`copy_cache`).
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.fs as pafs

from inbol_ray.config.machines import StorageConfig
from inbol_ray.errors import ConfigError, MissingInputError
from inbol_ray.store.copy_cache import CopyCache
from inbol_ray.store.storage import create_folder, is_remote, open_filesystem

CACHE_VARIABLE = "INBOL_RAY_CACHE"
"""Folder of the copies; by default one in the machine's temporary folder."""
CACHE_BYTES_VARIABLE = "INBOL_RAY_CACHE_BYTES"
"""Bytes that copies may take together; by default half of the disk they are on."""
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

    `storage` is the run's unless given. Processes that ask for the same folder copy it once; it stays as long as one of
    them lives. Raises MissingInputError when nothing is there.
    """
    if not is_remote(reference):
        return reference
    filesystem, source = open_filesystem(reference, storage or job_storage())

    def measure() -> int:
        infos = filesystem.get_file_info(pafs.FileSelector(source, recursive=True, allow_not_found=True))
        if not infos:
            raise MissingInputError(f"{reference}: nothing is stored there; was the artifact removed?")
        return sum(info.size for info in infos if info.is_file)

    digest = hashlib.sha256(reference.encode()).hexdigest()[:16]
    name = f"{source.replace('/', '~')[-100:]}-{digest}"
    return str(_open_cache().get(name, measure, lambda folder: copy_folder(reference, str(folder), storage)))


def _open_cache() -> CopyCache:
    folder = Path(os.environ.get(CACHE_VARIABLE) or Path(tempfile.gettempdir()) / f"inbol_ray-{os.getuid()}")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    text = os.environ.get(CACHE_BYTES_VARIABLE) or str(shutil.disk_usage(folder).total // 2)
    if not text.isdecimal():
        raise ConfigError(f"{CACHE_BYTES_VARIABLE} is {text!r}; expected a number of bytes, such as 200000000000")
    return CopyCache(folder, int(text))


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
