"""What the tests of the readers share: small files in the official formats, and reading them."""

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from inbol_ray.config.machines import StorageConfig
from inbol_ray.corpora.corpus_files import CorpusFiles
from inbol_ray.corpora.registry import READERS
from inbol_ray.rows import Question, Rejected


def png(colour: int = 0) -> bytes:
    """A small picture; another colour, other bytes."""
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3), (colour, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def write(path: Path, content) -> str:
    """Text and bytes as they are, lists of dicts under `.parquet` and `.jsonl`, else JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(content), path)
    elif path.suffix == ".jsonl" and isinstance(content, list):
        path.write_text("".join(json.dumps(row) + "\n" for row in content))
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def rows_of(
    dataset: str, root: Path | str, split: str, storage: StorageConfig | None = None
) -> list[Question | Rejected]:
    """All rows of a corpus; embedded images go to `images-of-tests` beside a local root."""
    image_folder = f"{root}/images-of-tests"
    with CorpusFiles(str(root), storage or StorageConfig(), image_folder) as files:
        return list(READERS[dataset](files, split))


def only(rows) -> Question:
    (row,) = rows
    assert isinstance(row, Question), row
    return row


def reasons(rows) -> dict[str, str]:
    """Reason of each rejected row by its native id."""
    return {row.id.split(":", 2)[2]: row.reason for row in rows if isinstance(row, Rejected)}
