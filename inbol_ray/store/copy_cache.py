"""Folders on this machine's disk within a bound of bytes: the least recently used go first, those in use stay.

A copy is in use as long as a process that asked for it lives: that process holds a shared lock on the copy's lock file,
which the operating system frees when the process ends, however it ends. Whoever fills or removes a copy holds the lock
alone. A lock file also keeps the bytes of its copy, and its time is that of the last use.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_in_use: dict[Path, IO[str]] = {}
"""Lock files that this process holds, by copy."""


class CopyCache:
    """Copies in the existing `folder`, by name, of at most `max_bytes` together; more only if nothing can go."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder, self.max_bytes = folder, max_bytes

    def get(self, name: str, measure: Callable[[], int], fill: Callable[[Path], None]) -> Path:
        """The copy `name`, which stays until this process ends. Processes that ask at the same time fill it once.

        Where it is not there, `measure` says how many bytes it takes and `fill` writes it into an empty folder.
        """
        copy = self.folder / name
        lock = open(self._lock_of(name), "a+")  # noqa: SIM115 - held until the process ends
        while True:
            fcntl.flock(lock, fcntl.LOCK_SH)
            if copy.is_dir():
                os.utime(lock.fileno(), ns=(time.time_ns(),) * 2)  # the kernel's own clock ticks every 4 ms
                _in_use[copy] = lock
                return copy
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not copy.is_dir():
                self._reserve(name, lock, measure())
                try:
                    with self._partial(name) as partial:
                        fill(partial)
                        os.replace(partial, copy)
                except BaseException:
                    _note_bytes(lock, 0)
                    raise
            # The lock changes hands on the way back to a shared one, so the copy may have gone again.

    def _reserve(self, name: str, lock: IO[str], num_bytes: int) -> None:
        """Note the bytes of a copy that is about to come, and remove others until it fits."""
        with open(self.folder / ".room", "w") as room:
            fcntl.flock(room, fcntl.LOCK_EX)
            _note_bytes(lock, num_bytes)
            used = {path: int(path.read_text() or 0) for path in self.folder.glob(".*.lock")}
            too_many = sum(used.values()) - self.max_bytes
            for path in sorted(used, key=lambda path: path.stat().st_mtime_ns):
                other = path.name.removeprefix(".").removesuffix(".lock")
                if too_many > 0 and used[path] and other != name and self._remove(other):
                    too_many -= used[path]

    def _remove(self, name: str) -> bool:
        """Remove a copy, or what a killed process left of one; False where it is in use."""
        with open(self._lock_of(name), "a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            with self._partial(name) as partial:
                if (copy := self.folder / name).is_dir():
                    os.replace(copy, partial)  # a kill while it goes leaves nothing that looks whole
            _note_bytes(lock, 0)
        return True

    @contextmanager
    def _partial(self, name: str) -> Iterator[Path]:
        """An empty folder of whoever holds the lock alone; gone after the block, unless it was renamed."""
        partial = self.folder / f".{name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            yield partial
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _lock_of(self, name: str) -> Path:
        # Lock files stay: one that is removed and made anew is two locks.
        return self.folder / f".{name}.lock"


def _note_bytes(lock: IO[str], num_bytes: int) -> None:
    lock.truncate(0)
    lock.write(str(num_bytes or ""))
    lock.flush()
