"""Large JSON files, one item at a time: file -> items of a list, or key and value of an object.

The standard library's decoder parses each item; only the walk from item to item is written here, so memory holds one
chunk or one item, whichever is larger. ijson was measured and not taken (3.6.0, yajl2_c, annotations of VQAv2's form):
166,000 items a second against 266,000; 100 kB of `[` took all memory of the machine; a lone surrogate became `?`
unnoticed, and one `1e400` made the whole file unreadable.
"""

import codecs
from collections.abc import Iterator
from json.decoder import JSONDecodeError, JSONDecoder
from typing import Any

from inbol_ray.corpora.corpus_files import CorpusFiles, unreadable
from inbol_ray.errors import DataError

CHUNK_BYTES = 1 << 20
MAX_ITEM_CHARS = 64 << 20
"""Longest single item; a longer one is taken for a file that is not what it should be."""
MAX_DIGITS = 4000
"""Longest number that is converted; Python refuses more than 4,300 digits."""
_IN_NUMBERS = "0123456789.eE+-"
_BLANKS = " \t\r\n"


def stream_list(files: CorpusFiles, name: str, description: str, key: str | None = None) -> Iterator[Any]:
    """Items of the list that is the file's top level, or that stands under `key` of its top-level object.

    Raises DataError where the file is unreadable, is no JSON, or holds no such list; `description` is what was
    expected. What follows the list under `key` is not looked at.
    """
    with files.open_stream(name, description) as stream:
        cursor = _Cursor(stream, files.shown(name), description)
        if key is not None:
            cursor.enter_key(key)
        elif cursor.peek() != "[":
            raise cursor.unexpected()
        cursor.take()
        yield from cursor.items("]")
        if key is None and cursor.peek():
            raise cursor.invalid("more follows after the end of the list")


def stream_object(files: CorpusFiles, name: str, description: str) -> Iterator[tuple[str, Any]]:
    """Key and value of each member of the object that is the file's top level, in file order. Raises DataError."""
    with files.open_stream(name, description) as stream:
        cursor = _Cursor(stream, files.shown(name), description)
        if cursor.peek() != "{":
            raise cursor.unexpected()
        cursor.take()
        yield from cursor.members()


class _Cursor:
    """A place in a JSON text of which only the part around it is in memory."""

    def __init__(self, stream, name: str, description: str) -> None:
        self.stream, self.name, self.description = stream, name, description
        self.decode_item = JSONDecoder().raw_decode
        self.decode_text = codecs.getincrementaldecoder("utf-8-sig")().decode
        self.buffer, self.place, self.at_end = "", 0, False

    def peek(self) -> str:
        """The next character that is not blank; empty at the end of the file."""
        while True:
            while self.place < len(self.buffer) and self.buffer[self.place] in _BLANKS:
                self.place += 1
            if self.place < len(self.buffer):
                return self.buffer[self.place]
            if not self._read(CHUNK_BYTES):
                return ""

    def take(self) -> None:
        self.place += 1

    def value(self) -> Any:
        """The value that starts here. A number is whole once something follows that cannot belong to it."""
        self.peek()
        size = CHUNK_BYTES
        while True:
            problem = None
            try:
                value, end = self._decode()
                if self.at_end or (end < len(self.buffer) and self.buffer[end] not in _IN_NUMBERS):
                    self.place = end
                    return value
            except RecursionError as error:
                raise self.invalid(error) from None
            except JSONDecodeError as error:  # cut off here, or wrong: more text will tell
                problem = error
            if len(self.buffer) - self.place > MAX_ITEM_CHARS:
                raise self.invalid(f"an item is longer than {MAX_ITEM_CHARS} characters, or: {problem}")
            if not self._read(size) and problem is not None:
                raise self.invalid(problem)
            size *= 2  # so that a long item is not parsed anew for every chunk of it

    def _decode(self) -> tuple[Any, int]:
        try:
            return self.decode_item(self.buffer, self.place)
        except JSONDecodeError:
            raise
        except ValueError:  # a number with more digits than Python converts: kept as text, for the row's own check
            return JSONDecoder(parse_int=_integer_or_text).raw_decode(self.buffer, self.place)

    def items(self, end: str) -> Iterator[Any]:
        """Values up to the closing bracket."""
        if self.peek() == end:
            self.take()
            return
        while True:
            yield self.value()
            if self._follows(end):
                return

    def members(self) -> Iterator[tuple[str, Any]]:
        """Keys and values up to the closing brace."""
        if self.peek() == "}":
            return
        while True:
            key = self._key()
            yield key, self.value()
            if self._follows("}"):
                return

    def enter_key(self, key: str) -> None:
        """Move to the list under `key` of the object that starts here; what stands before it is passed over."""
        if self.peek() != "{":
            raise self.unexpected()
        self.take()
        while self.peek() not in ("}", ""):
            name = self._key()
            if name == key:
                if self.peek() != "[":
                    break
                return
            if self.peek() == "[":
                self.take()
                for _ in self.items("]"):
                    pass
            else:
                self.value()
            if self._follows("}"):
                break
        raise DataError(f"{self.name}: found no list {key!r}, expected {self.description}. Use the official file.")

    def unexpected(self) -> DataError:
        """The error for a top level of another kind than was asked for."""
        start = self.peek()
        if not start:
            return self.invalid("the file is empty")
        found = {"[": "a list", "{": "an object"}.get(start) or repr(self.value())[:80]
        return DataError(f"{self.name}: found {found}, expected {self.description}. Use the official file.")

    def invalid(self, problem: object) -> DataError:
        return DataError(
            f"{self.name}: not valid JSON ({problem}), expected {self.description}. "
            "The file may be cut off: download it again."
        )

    def _key(self) -> str:
        key = self.value()
        if not isinstance(key, str) or self.peek() != ":":
            raise self.invalid(f"found {key!r:.80} where a key and ':' should stand")
        self.take()
        return key

    def _follows(self, end: str) -> bool:
        """Step over `,` (False) or the closing bracket (True)."""
        found = self.peek()
        if found not in (",", end) or not found:
            raise self.invalid(f"found {found!r} where ',' or {end!r} should stand" if found else "the file ends early")
        self.take()
        return found == end

    def _read(self, size: int) -> bool:
        """Drop what is behind, append more text; False at the end of the file."""
        if self.at_end:
            return False
        try:
            data = self.stream.read(size)
            self.at_end = not data
            text = self.decode_text(data, final=self.at_end)
        except OSError as error:
            raise unreadable(self.name, self.description, error) from error
        except UnicodeDecodeError as error:
            raise self.invalid(error) from None
        self.buffer = self.buffer[self.place :] + text
        self.place = 0
        return bool(text) or not self.at_end


def _integer_or_text(digits: str) -> int | str:
    return int(digits) if len(digits) <= MAX_DIGITS else digits
