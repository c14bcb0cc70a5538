"""Rows -> Parquet file of any length, in little memory."""

import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

ROW_GROUP_ROWS = 5_000
"""Rows that a writer gathers before it writes them."""


class RowWriter:
    """Writes a Parquet file of any length in little memory; it appears, complete, when it is closed."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path, self.schema = path, schema
        self.partial = path.with_name(f".{path.name}.partial")
        self.writer = pq.ParquetWriter(self.partial, schema)
        self.waiting: list[dict] = []
        self.num_rows = 0

    def __enter__(self) -> "RowWriter":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            self.close()
        else:
            self.writer.close()

    def write(self, row: dict) -> None:
        """Append one row; a column that it lacks is null, and one that the schema lacks is left out."""
        self.waiting.append(row)
        if len(self.waiting) == ROW_GROUP_ROWS:
            self._flush()

    def write_table(self, table: pa.Table) -> None:
        """Append the schema's columns of a table."""
        self._flush()
        self.writer.write_table(table.select(self.schema.names).cast(self.schema))
        self.num_rows += table.num_rows

    def close(self) -> None:
        self._flush()
        self.writer.close()
        os.replace(self.partial, self.path)

    def _flush(self) -> None:
        if self.waiting:
            self.writer.write_table(pa.Table.from_pylist(self.waiting, schema=self.schema))
            self.num_rows += len(self.waiting)
            self.waiting = []


def write_rows(path: Path, rows: Iterable[dict], schema: pa.Schema) -> int:
    """Write rows as one Parquet file; returns their number. The file appears only when complete."""
    with RowWriter(path, schema) as writer:
        for row in rows:
            writer.write(row)
    return writer.num_rows
