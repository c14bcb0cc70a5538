"""Leakage: which training questions show an image of the evaluation, or ask one of its questions.

CORPUS_ROW -> the same with `image_keys` and `question_keys`, both list<string>

An image is known by COCO's number, which COCO 2014 and 2017 share, and by the SHA-256 of its file. The same picture
stored anew (resized, recompressed) is not found unless both sides have COCO's number. A question is known by its image
and its text, options and hint; without an image, by the text alone. The keys of the evaluation are kept on disk, so
memory does not grow with it.
"""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import ray.data

from inbol_ray.corpora.disk_index import DiskIndex
from inbol_ray.images import ImageError, read_image_bytes

NUM_SHOWN = 5
_KEYS = ("image_keys", "question_keys")
_STRINGS = pa.list_(pa.string())
KEYS = pa.schema([(name, pa.string()) for name in ("id", "dataset", "split")] + [(name, _STRINGS) for name in _KEYS])
"""What is compared: columns of `with_keys`."""


def with_keys(rows: ray.data.Dataset, *, compare_content: bool) -> ray.data.Dataset:
    """The rows with the keys of their images and question; rejected rows have none. Order is kept."""
    return rows.map_batches(
        _add_keys,
        batch_format="pyarrow",
        batch_size=None,
        fn_kwargs={"compare_content": compare_content},
        # Reading images is mostly waiting. A share unlike the reader's also keeps Ray Data from fusing the two, which
        # would leave all images of a corpus to the one process that reads it.
        num_cpus=0.5,
    )


@dataclass
class Leaks:
    """What was found: number of leaking training questions by corpus, and a few of them in words.

    `num_questions` counts those that share an image or the question, `num_same` those that share the question.
    """

    num_questions: Counter[str] = field(default_factory=Counter)
    num_same: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        return self.num_questions.total()

    def describe(self) -> str:
        """One line per corpus, then the examples."""
        lines = [
            f"{number:,} training questions of {corpus} share an image or the question with the evaluation, "
            f"{self.num_same[corpus]:,} of them the question"
            for corpus, number in sorted(self.num_questions.items())
        ]
        return "\n".join([*lines, *(f"  {example}" for example in self.examples)])


class EvaluationKeys:
    """Images and questions of the evaluation, on disk. Use as a context manager."""

    def __init__(self) -> None:
        self._index = DiskIndex()
        self.leaks = Leaks()

    def __enter__(self) -> "EvaluationKeys":
        return self

    def __exit__(self, *_error) -> None:
        self._index.close()

    def add(self, table: pa.Table) -> None:
        """Take in a table of `with_keys`."""
        for row in table.select(["id", *_KEYS]).to_pylist():
            self._index.add_all((key, row["id"]) for name in _KEYS for key in row[name])

    def add_file(self, path: Path) -> None:
        """Take in a Parquet file of KEYS."""
        for batch in pq.ParquetFile(path).iter_batches():
            self.add(pa.Table.from_batches([batch]))

    def find_leaks(self, table: pa.Table) -> list[str | None]:
        """For each row of a table of `with_keys`, what it shares with the evaluation in words, or None. Counts them."""
        return [self._find(row) for row in table.select(["id", "dataset", "split", *_KEYS]).to_pylist()]

    def _find(self, row: dict) -> str | None:
        same = next(filter(None, map(self._index.get, row["question_keys"])), None)
        key, other = next(((key, found) for key in row["image_keys"] if (found := self._index.get(key))), (None, None))
        if same is None and other is None:
            return None
        corpus = f"{row['dataset']}:{row['split']}"
        self.leaks.num_questions[corpus] += 1
        self.leaks.num_same[corpus] += same is not None
        shared = " and ".join(name for name, found in (("image", other), ("question", same)) if found)
        text = f"{row['id']} has the {shared} of {same or other}" + (f" ({key[:23]})" if key else "")
        if len(self.leaks.examples) < NUM_SHOWN:
            self.leaks.examples.append(text)
        return text


def _add_keys(table: pa.Table, compare_content: bool) -> pa.Table:
    digests: dict[str, str | None] = {}
    image_keys, question_keys = [], []
    for row in table.select(["reason", "meta", "images", "question", "choices", "hint"]).to_pylist():
        keys = [] if row["reason"] else _image_keys(row, digests if compare_content else None)
        image_keys.append(keys)
        question_keys.append([] if row["reason"] else _question_keys(row, keys))
    for name, column in zip(_KEYS, (image_keys, question_keys), strict=True):
        table = table.append_column(name, pa.array(column, _STRINGS))
    return table


def _image_keys(row: dict, digests: dict[str, str | None] | None) -> list[str]:
    """`digests` remembers images of the batch, since questions about one image stand together; None: do not compare."""
    coco_image_id = json.loads(row["meta"]).get("coco_image_id")
    keys = [] if coco_image_id is None else [f"coco:{coco_image_id}"]
    for reference in row["images"] if digests is not None else ():
        if reference not in digests:
            digests[reference] = _digest(reference)
        if digests[reference]:
            keys.append(f"sha256:{digests[reference]}")
    return keys


def _digest(reference: str) -> str | None:
    """None for an image that cannot be read: the stage that needs its pixels will say so."""
    try:
        return hashlib.sha256(read_image_bytes(reference)).hexdigest()
    except ImageError:
        return None


def _question_keys(row: dict, image_keys: list[str]) -> list[str]:
    """The text with each key of its image; alone where the question has no image."""
    words = [" ".join((text or "").lower().split()) for text in (row["question"], row["hint"], *row["choices"])]
    about = image_keys if row["images"] else [""]
    return [f"question:{hashlib.sha256(json.dumps([key, *words]).encode()).hexdigest()}" for key in about]
