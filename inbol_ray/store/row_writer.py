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
        self.tables: list[pa.Table] = []
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
            self._gather()

    def write_table(self, table: pa.Table) -> None:
        """Append the schema's columns of a table."""
        self._gather()
        self._append(table.select(self.schema.names).cast(self.schema))

    def close(self) -> None:
        self._gather()
        self._write(pa.concat_tables([self.schema.empty_table(), *self.tables]))
        self.writer.close()
        os.replace(self.partial, self.path)

    def _gather(self) -> None:
        if self.waiting:
            self._append(pa.Table.from_pylist(self.waiting, schema=self.schema))
            self.waiting = []

    def _append(self, table: pa.Table) -> None:
        self.num_rows += table.num_rows
        self.tables.append(table)
        if sum(one.num_rows for one in self.tables) < ROW_GROUP_ROWS:
            return
        whole = pa.concat_tables(self.tables)
        num_full = whole.num_rows // ROW_GROUP_ROWS * ROW_GROUP_ROWS
        self._write(whole.slice(0, num_full))
        self.tables = [whole.slice(num_full)]

    def _write(self, table: pa.Table) -> None:
        if table.num_rows:
            self.writer.write_table(table.combine_chunks(), row_group_size=ROW_GROUP_ROWS)


def write_rows(path: Path, rows: Iterable[dict], schema: pa.Schema) -> int:
    """Write rows as one Parquet file; returns their number. The file appears only when complete."""
    with RowWriter(path, schema) as writer:
        for row in rows:
            writer.write(row)
    return writer.num_rows
