"""Where the rows of a corpus stand: JSON, JSON lines, TSV, Parquet or Arrow files -> AnnotationRow, a few at a time.

Only the rows in hand are in memory: JSON is walked item by item (`json_stream`), Parquet is read in small batches,
Arrow in those that it was written in.
"""

import codecs
import io
import json
from collections.abc import Iterator
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from inbol_ray.corpora.annotation_rows import AnnotationRow
from inbol_ray.corpora.corpus_files import CorpusFiles, unreadable
from inbol_ray.corpora.delimited_lines import MAX_RECORD_CHARS, read_records
from inbol_ray.corpora.file_start import START_BYTES, unlike_parquet
from inbol_ray.corpora.json_stream import MAX_ITEM_CHARS, stream_list, stream_object
from inbol_ray.errors import DataError

PARQUET_BATCH_ROWS = 64
"""Rows of a Parquet file in memory at once: they may embed their images."""
TopLevel = Literal["list", "object"]
"""What a `.json` file holds: rows in a list or one a line, or an object of rows by id."""
_DELIMITERS = {"tsv": "\t", "csv": ","}


def find_rows(
    files: CorpusFiles,
    *patterns: str,
    id_field: str,
    description: str,
    top_level: TopLevel = "list",
) -> Iterator[AnnotationRow]:
    """Rows of the files that match the first pattern that any file matches; the extension says how they are read.

    `.json` is a list of rows, or with `top_level="object"` an object of rows by id; a list in a `.jsonl` is read as
    well, and so are lines of rows in a `.json`. Raises DataError at once where no file is found, and while reading
    where one cannot be read.
    """
    names = files.find(*patterns, description=description)
    return _rows_of_files(files, names, id_field, description, top_level)


def check_split(files: CorpusFiles, dataset: str, split: str, *known: str) -> None:
    """Raise DataError for a split that the corpus does not have."""
    if split not in known:
        raise DataError(
            f"{files.root}: found split {split!r} of {dataset} in the configuration, expected {' or '.join(known)}. "
            "Correct `split`."
        )


def parquet_patterns(split: str, *folders: str) -> tuple[str, ...]:
    """Names under which the hub's copies hold a split: `{split}-00000-of-00001.parquet` in `data` or a config."""
    return tuple(
        f"{folder}/{name}".removeprefix("/")
        for folder in (*folders, "data", "")
        for name in (f"{split}-*.parquet", f"{split}.parquet")
    )


def hub_split(split: str) -> str:
    """The hub's name of a split: `validation` for `val`."""
    return "validation" if split == "val" else split


def _rows_of_files(
    files: CorpusFiles, names: list[str], id_field: str, description: str, top_level: TopLevel
) -> Iterator[AnnotationRow]:
    for name in names:
        extension = name.rpartition(".")[2].lower()
        if extension == "parquet":
            rows = parquet_rows(files, name, id_field, description)
        elif extension == "arrow":
            rows = arrow_rows(files, name, id_field, description)
        elif extension in _DELIMITERS:
            rows = delimited_rows(files, name, id_field, description, _DELIMITERS[extension])
        elif top_level == "list" and _holds_lines(files, name, id_field, description, extension):
            rows = json_line_rows(files, name, id_field, description)
        elif top_level == "object":
            rows = json_object_rows(files, name, id_field, description)
        else:
            rows = json_list_rows(files, name, id_field, description)
        yield from rows


def _holds_lines(files: CorpusFiles, name: str, id_field: str, description: str, extension: str) -> bool:
    """Whether a JSON file holds an object a line, by its first two lines that are not blank, whatever its name says."""
    with files.open_stream(name, description) as stream, io.BufferedReader(stream, 1 << 20) as lines:
        filled = (line for line in _bounded_lines(lines) if line is None or line.strip())
        first = next(filled, b"")
        if first is None:
            return extension == "jsonl"
        value = _parse(first)
        if extension != "jsonl":
            return isinstance(value, dict) and id_field in value and isinstance(_parse(next(filled, b"")), dict)
    return not first.lstrip().startswith(b"[") or (
        isinstance(value, list) and not any(isinstance(item, dict) for item in value)
    )


def json_list_rows(
    files: CorpusFiles, name: str, id_field: str, description: str, key: str | None = None
) -> Iterator[AnnotationRow]:
    """Items of a JSON list, or of the list under `key` of a JSON object."""
    for index, item in enumerate(stream_list(files, name, description, key)):
        yield AnnotationRow(files, name, f"{key or 'list'}[{index}]", id_field, item)


def json_object_rows(files: CorpusFiles, name: str, id_field: str, description: str) -> Iterator[AnnotationRow]:
    """Members of a JSON object; the key of each is its id."""
    for key, item in stream_object(files, name, description):
        values = item | {id_field: key} if isinstance(item, dict) else item
        yield AnnotationRow(files, name, f"{id_field} {key}"[:100], id_field, values)


def json_line_rows(files: CorpusFiles, name: str, id_field: str, description: str) -> Iterator[AnnotationRow]:
    """JSON objects, one a line; blank lines are passed over. The values of a broken line are the error."""
    try:
        with files.open_stream(name, description) as stream, io.BufferedReader(stream, 1 << 20) as lines:
            for number, line in enumerate(_bounded_lines(lines), start=1):
                if line is None or line.strip():
                    yield AnnotationRow(files, name, f"line {number}", id_field, _parse(line))
    except OSError as error:
        raise unreadable(files.shown(name), description, error) from error


def _bounded_lines(lines: io.BufferedReader) -> Iterator[bytes | None]:
    """Lines, without the file's byte order mark; None for one that is too long to be held."""
    mark = codecs.BOM_UTF8
    while line := lines.readline(MAX_ITEM_CHARS):
        line, mark = line.removeprefix(mark), b""
        if len(line) < MAX_ITEM_CHARS or line.endswith(b"\n"):
            yield line
            continue
        while len(line) == MAX_ITEM_CHARS and not line.endswith(b"\n"):
            line = lines.readline(MAX_ITEM_CHARS)
        yield None


def _parse(line: bytes | None) -> object:
    """The value of a line, or the error that it is no JSON."""
    if line is None:
        return ValueError(f"longer than {MAX_ITEM_CHARS} bytes")
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        return error


def delimited_rows(
    files: CorpusFiles, name: str, id_field: str, description: str, delimiter: str
) -> Iterator[AnnotationRow]:
    """Rows of a TSV or CSV file with a header. Every value is text; the readers say which texts mean nothing."""
    try:
        with (
            files.open_stream(name, description) as stream,
            io.TextIOWrapper(io.BufferedReader(stream, 1 << 20), encoding="utf-8-sig", newline="") as text,
        ):
            records = read_records(_bounded_texts(text), delimiter)
            _, header = next(records, (1, []))
            if id_field not in header:
                raise DataError(
                    f"{files.shown(name)}: found the columns {', '.join(header)[:200] or '(none)'}, expected "
                    f"{id_field!r} among them. Use the official file."
                )
            for number, fields in records:
                values = fields if isinstance(fields, ValueError) else dict(zip(header, fields, strict=True))
                yield AnnotationRow(files, name, f"line {number}", id_field, values)
    except OSError as error:
        raise unreadable(files.shown(name), description, error) from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{files.shown(name)}: not a readable table ({error}), expected {description}. Download it again."
        ) from error


def _bounded_texts(text: io.TextIOWrapper) -> Iterator[str]:
    """Lines; one that is too long is cut there, and so becomes a row of too few fields."""
    while line := text.readline(MAX_RECORD_CHARS):
        yield line


def parquet_rows(files: CorpusFiles, name: str, id_field: str, description: str) -> Iterator[AnnotationRow]:
    """Rows of a Parquet file, without its pandas index."""
    number = 0
    try:
        with files.open_file(name, description) as file, pq.ParquetFile(file) as table:
            for batch in table.iter_batches(batch_size=PARQUET_BATCH_ROWS):
                for values in batch.to_pylist():
                    yield AnnotationRow(files, name, f"row {number}", id_field, values)
                    number += 1
    except (OSError, pa.ArrowException) as error:
        with files.open_file(name, description) as file:
            problem = unlike_parquet(file.read(START_BYTES))
        raise DataError(
            f"{files.shown(name)}: expected {description}, {problem}"
            if problem
            else f"{files.shown(name)}: not a readable Parquet file ({error}), expected {description}. Download it again."
        ) from error


def arrow_rows(files: CorpusFiles, name: str, id_field: str, description: str) -> Iterator[AnnotationRow]:
    """Rows of an Arrow stream, the form in which the `datasets` library saves to disk."""
    number = 0
    try:
        with files.open_file(name, description) as stream, pa.ipc.open_stream(stream) as batches:
            for batch in batches:
                for start in range(0, batch.num_rows, PARQUET_BATCH_ROWS):
                    for values in batch.slice(start, PARQUET_BATCH_ROWS).to_pylist():
                        yield AnnotationRow(files, name, f"row {number}", id_field, values)
                        number += 1
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"{files.shown(name)}: not a readable Arrow file ({error}), expected {description}. Download it again."
        ) from error
