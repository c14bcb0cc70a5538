"""Records of a TSV or CSV file that no stray quote can merge: lines -> (number of the first line, fields or the error).

A field that opens with `"` may hold delimiters and line breaks up to its closing quote, as pandas and spreadsheets
write them. A quote that nobody closes, or that closes before its field ends, is text: the standard library's reader
would take it for the start of a field and swallow all rows up to the next quote in the file.
"""

import re
from collections import deque
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Literal

MAX_RECORD_CHARS = 64 << 20
"""Longest record; the official MMBench files hold their pictures in fields."""
MAX_RECORD_LINES = 1_000
"""Most lines of a record; a quote that is open for longer is taken for text."""
Unsplit = Literal["open", "stray"]
"""`open`: a quoted field goes on in the next line. `stray`: a quote where none can stand."""
_OPEN = re.compile(r'"[^"]*(?:""[^"]*)*\Z')


def read_records(lines: Iterable[str], delimiter: str) -> Iterator[tuple[int, list[str] | ValueError]]:
    """Records with the number of their first line, from 1; the first is the header. Blank lines are passed over.

    A record of another number of fields than the header is an error that says so.
    """
    numbered = enumerate(lines, start=1)
    waiting: deque[tuple[int, str]] = deque()
    width = None
    while (line := waiting.popleft() if waiting else next(numbered, None)) is not None:
        number, text = line
        if not text.strip("\r\n"):
            continue
        fields, taken = _whole_record(text, waiting, numbered, delimiter, width)
        if fields is None:
            waiting.extendleft(reversed(taken))
            fields = _split_plainly(text, delimiter)
        width = len(fields) if width is None else width
        if len(fields) == width:
            yield number, fields
        else:
            hint = ", and a quote that nothing closes" if isinstance(split_record(text, delimiter), str) else ""
            yield number, ValueError(f"{len(fields)} fields{hint}, where the header has {width}")


def split_record(record: str, delimiter: str) -> list[str] | Unsplit:
    """Fields of a record without its line end, quoted ones without their quotes."""
    record = _without_end(record)
    if '"' not in record:
        return record.split(delimiter)
    quoted, plain = _field_patterns(delimiter)
    fields, place = [], 0
    while True:
        is_quoted = record.startswith('"', place)
        found = (quoted if is_quoted else plain).match(record, place)
        if found is None:
            return "open" if _OPEN.match(record, place) else "stray"
        fields.append(found[1].replace('""', '"') if is_quoted else found[1])
        if found.end() == len(record) and not found[2]:
            return fields
        place = found.end()


def _whole_record(
    text: str, waiting: deque, numbered: Iterator[tuple[int, str]], delimiter: str, width: int | None
) -> tuple[list[str] | None, list[tuple[int, str]]]:
    """The fields of the record that starts with this line, and the further lines looked at; None for a stray quote.

    A line that has as many fields as the header is a row of its own, and no part of a field; but for the end of a first
    field, which is followed by all others.
    """
    taken: list[tuple[int, str]] = []
    size = len(text)
    parts = [text]
    fields = split_record(text, delimiter)
    while fields == "open" and size <= MAX_RECORD_CHARS and len(parts) < MAX_RECORD_LINES:
        following = waiting.popleft() if waiting else next(numbered, None)
        if following is None:
            return None, taken
        taken.append(following)
        parts.append(following[1])
        size += len(following[1])
        looks_whole = width is not None and len(_split_plainly(following[1], delimiter)) == width
        if looks_whole and not text.startswith('"'):
            return None, taken
        if '"' in following[1]:
            fields = split_record("".join(parts), delimiter)
    is_whole = isinstance(fields, list) and (width is None or not taken or len(fields) == width)
    return (fields if is_whole else None), taken


def _split_plainly(line: str, delimiter: str) -> list[str]:
    """Fields by delimiters alone; quotes around a whole field still go."""
    return [
        field[1:-1].replace('""', '"') if len(field) > 1 and field[0] == field[-1] == '"' else field
        for field in _without_end(line).split(delimiter)
    ]


def _without_end(line: str) -> str:
    return line.removesuffix("\n").removesuffix("\r")


@cache
def _field_patterns(delimiter: str) -> tuple[re.Pattern, re.Pattern]:
    """A quoted and a plain field, each with its delimiter or the record's end."""
    mark = re.escape(delimiter)
    return re.compile(rf'"([^"]*(?:""[^"]*)*)"({mark}|\Z)'), re.compile(rf"([^{mark}]*)({mark}|\Z)")
