"""The files of one corpus below its root, a local folder or `s3://bucket/prefix`: name -> stream, reference, existence.

Names are relative, with `/`. References are what `Question.images` holds (`storage.reference_to`).
"""

import hashlib
import os
import posixpath
from collections.abc import Callable, Container
from fnmatch import fnmatchcase
from functools import cached_property
from types import TracebackType

import pyarrow as pa
import pyarrow.fs as pafs

from inbol_ray.config.machines import StorageConfig
from inbol_ray.corpora.disk_index import DiskIndex
from inbol_ray.corpora.file_start import START_BYTES, unlike_text
from inbol_ray.errors import DataError
from inbol_ray.store.storage import create_folder, is_remote, open_filesystem, reference_to, write_whole

STREAM_BUFFER_BYTES = 1 << 20


class CorpusFiles:
    """Read access to a corpus; use as a context manager.

    In a store, the names of a folder's files are listed once, at the first question about one of them, and kept on
    disk, since asking for each image by itself would take a round trip a question.

    `image_folder` (local or `s3://`) is where images go that are embedded in the corpus's own files: each becomes a
    file named by the SHA-256 of its bytes, so that rows refer to it as to any other image, the same picture is stored
    once, and a reader that starts over writes the same files again. With `wanted_images` only those references become
    files, and `passed_over` says whether there were others.
    """

    def __init__(
        self,
        root: str,
        storage: StorageConfig,
        image_folder: str | None = None,
        wanted_images: Container[str] | None = None,
    ) -> None:
        self.root = (root if is_remote(root) else os.path.abspath(root)).rstrip("/") or "/"
        self.storage = storage
        self.image_folder = image_folder
        self.wanted_images = wanted_images
        self.passed_over = False
        self._listed: set[str] = set()
        self._names = DiskIndex()
        self._saved_folders: set[str] = set()

    def __enter__(self) -> "CorpusFiles":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._names.close()

    @cached_property
    def _opened(self) -> tuple[pafs.FileSystem, str]:
        return open_filesystem(self.root, self.storage)

    def shown(self, name: str) -> str:
        """The name for a message: the full path or URI."""
        return f"{self.root}/{name}"

    def reference(self, name: str) -> str:
        """A reference to the name, whether or not it exists."""
        return reference_to(f"{self.root}/{name}", self.storage)

    def exists(self, name: str) -> bool:
        """Whether the name is a file. Raises DataError where the store cannot be asked."""
        if "\0" in name:
            return False
        if not is_remote(self.root):
            return os.path.isfile(f"{self.root}/{name}")
        folder = posixpath.dirname(name)
        if folder not in self._listed:
            self._names.add_all(
                (posixpath.join(folder, entry.base_name), 1) for entry in self._list(folder, files=True)
            )
            self._listed.add(folder)
        return self._names.get(name) is not None

    def find(self, *patterns: str, description: str) -> list[str]:
        """Files that match the first pattern that any file matches, sorted; `*` matches within one level.

        Raises DataError, with all patterns, where none does.
        """
        for pattern in patterns:
            if found := self._matching(pattern):
                return found
        raise DataError(
            f"{self.root}: found no {' or '.join(patterns)}, expected {description}. "
            "Download the file into that folder, or correct `root` and `split` in the configuration."
        )

    def open_stream(self, name: str, description: str) -> pa.NativeFile:
        """A buffered stream of a text file's bytes. Raises DataError, also where its start shows that it is no text."""
        with self.open_file(name, description) as file:
            if problem := unlike_text(file.read(START_BYTES)):
                raise DataError(f"{self.shown(name)}: expected {description}, {problem}")
        return self._open(
            name,
            description,
            lambda filesystem, path: filesystem.open_input_stream(
                path, compression=None, buffer_size=STREAM_BUFFER_BYTES
            ),
        )

    def open_file(self, name: str, description: str) -> pa.NativeFile:
        """The file for reading at any offset. Raises DataError."""
        return self._open(name, description, lambda filesystem, path: filesystem.open_input_file(path))

    def save_image(self, data: bytes) -> str:
        """Keep an embedded image; returns its reference. Raises DataError where there is no folder for it."""
        if self.image_folder is None:
            raise DataError(f"{self.root}: its files embed images, and no folder was given to keep them in")
        digest = hashlib.sha256(data).hexdigest()
        uri = f"{self.image_folder}/{digest[:2]}/{digest}"
        reference = reference_to(uri, self.storage)
        if self.wanted_images is not None and reference not in self.wanted_images:
            self.passed_over = True
            return reference
        filesystem, path = open_filesystem(uri, self.storage)
        if filesystem.get_file_info(path).type == pafs.FileType.NotFound:
            if digest[:2] not in self._saved_folders:
                create_folder(filesystem, posixpath.dirname(path))
                self._saved_folders.add(digest[:2])
            write_whole(filesystem, path, data)
        return reference

    def _open(self, name: str, description: str, opener: Callable) -> pa.NativeFile:
        filesystem, root = self._opened
        try:
            return opener(filesystem, posixpath.join(root, name))
        except OSError as error:
            raise unreadable(self.shown(name), description, error) from error

    def _matching(self, pattern: str) -> list[str]:
        """Names of files that match, sorted."""
        folders = [""]
        *levels, base = pattern.split("/")
        for level in levels:
            if "*" in level:
                folders = [
                    posixpath.join(folder, entry.base_name)
                    for folder in folders
                    for entry in self._list(folder, files=False)
                    if fnmatchcase(entry.base_name, level)
                ]
            else:
                folders = [posixpath.join(folder, level) for folder in folders]
        if "*" not in base:
            names = [posixpath.join(folder, base) for folder in folders]
            return sorted(name for name in names if self.exists(name))
        return sorted(
            posixpath.join(folder, entry.base_name)
            for folder in folders
            for entry in self._list(folder, files=True)
            if fnmatchcase(entry.base_name, base)
        )

    def _list(self, folder: str, files: bool) -> list[pafs.FileInfo]:
        filesystem, root = self._opened
        selector = pafs.FileSelector(posixpath.join(root, folder).rstrip("/"), allow_not_found=True)
        wanted = pafs.FileType.File if files else pafs.FileType.Directory
        try:
            return [entry for entry in filesystem.get_file_info(selector) if entry.type == wanted]
        except NotADirectoryError:
            return []
        except OSError as error:
            raise unreadable(self.shown(folder), "a folder of the corpus", error) from error


def unreadable(name: str, description: str, error: OSError) -> DataError:
    """The error for a file that the configuration leads to but that cannot be read."""
    return DataError(
        f"{name}: cannot be read ({error.strerror or error}), expected {description}. "
        "Check that it exists and may be read, and for a store its endpoint and credentials."
    )
