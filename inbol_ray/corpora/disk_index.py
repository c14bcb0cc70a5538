"""A mapping on disk: text key -> text value, for what would not fit into memory at scale.

It joins VQAv2's annotations to its questions, finds ids that come twice, sorts questions by id, and remembers which
images an evaluation uses. SQLite's B-tree in a temporary file was chosen over a hash partition into Parquet buckets because the JSON file is
read by one process anyway, which takes longer than the look-ups do, and because rows stay in file order, so that
of two rows with one id the first is kept. Memory is the page cache set below, whatever
the number of keys; `make bench-corpora` measures both.
"""

import os
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from types import TracebackType

PAGE_CACHE_KIB = 16_384


class DiskIndex:
    """One process at a time, no durability. `close`, or the end of a `with` block, removes the file."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="inbol-index-", ignore_cleanup_errors=True)
        self._database = sqlite3.connect(
            os.path.join(self._folder.name, "index.sqlite"), isolation_level=None, check_same_thread=False
        )
        for setting in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{PAGE_CACHE_KIB}"):
            self._database.execute(f"PRAGMA {setting}")
        self._database.execute("CREATE TABLE entries (key TEXT PRIMARY KEY, value) WITHOUT ROWID")
        self._database.execute("BEGIN")

    def __enter__(self) -> "DiskIndex":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._database.close()
        self._folder.cleanup()

    def add(self, key: str, value: str | int) -> bool:
        """Store a new key; False, and nothing stored, where it is there already."""
        return self._database.execute("INSERT OR IGNORE INTO entries VALUES (?, ?)", (key, value)).rowcount == 1

    def add_all(self, entries: Iterable[tuple[str, str | int]]) -> None:
        """Store many keys; the first value of a key stays."""
        self._database.executemany("INSERT OR IGNORE INTO entries VALUES (?, ?)", entries)

    def put(self, key: str, value: str | int) -> None:
        """Store a key, in place of what it had."""
        self._database.execute("INSERT OR REPLACE INTO entries VALUES (?, ?)", (key, value))

    def get(self, key: str) -> str | int | None:
        """The value of a key, or None."""
        row = self._database.execute("SELECT value FROM entries WHERE key = ?", (key,)).fetchone()
        return None if row is None else row[0]

    def items(self) -> Iterator[tuple[str, str | int]]:
        """All keys with their values, in key order (by UTF-8 bytes)."""
        yield from self._database.execute("SELECT key, value FROM entries ORDER BY key")

    def keys_with(self, value: str | int) -> Iterator[str]:
        """Keys of a value, in key order."""
        for (key,) in self._database.execute("SELECT key FROM entries WHERE value = ? ORDER BY key", (value,)):
            yield key
