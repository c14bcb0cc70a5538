"""`PATH[:METHOD]` -> the PREDICTION rows of one method, from a run's output folder or a predictions.parquet file."""

import re

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from inbol_ray.config.machines import StorageConfig
from inbol_ray.errors import DataError
from inbol_ray.store.storage import open_filesystem

_FILE = "predictions.parquet"
_METHOD = re.compile(r"^(?P<path>.+):(?P<method>[^/:]+)$")


def read_side(side: str, storage: StorageConfig) -> pa.Table:
    """Rows of the named method; of all methods where none is named. Raises DataError.

    A path that exists as it stands has no method in it, even with a colon.
    """
    path, method = side, None
    table = _read(path, storage)
    if table is None and (match := _METHOD.match(side)):
        path, method = match["path"], match["method"]
        table = _read(path, storage)
    if table is None:
        raise DataError(f"{path}: found no {_FILE}, expected a run's output folder or such a file. Correct the path.")
    if method is None or "method" not in table.column_names:
        return table
    rows = table.filter(pc.equal(table["method"], method))
    if not rows.num_rows:
        found = ", ".join(sorted(table["method"].unique().to_pylist())) or "none"
        raise DataError(f"{path}: found no method {method!r}, expected one of {found}")
    return rows


def _read(path: str, storage: StorageConfig) -> pa.Table | None:
    filesystem, inside = open_filesystem(path, storage)
    for place in (inside, f"{inside}/{_FILE}"):
        try:
            if filesystem.get_file_info(place).type == pafs.FileType.File:
                return pq.read_table(place, filesystem=filesystem)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{path}: not a readable Parquet file ({error}), expected {_FILE}") from error
    return None
