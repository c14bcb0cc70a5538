"""One entry to all corpora: CorpusConfig -> streaming Ray Dataset of CORPUS_ROW.

A corpus is read by one task, since its files are streams whose rows must come once each and in order; several corpora
are read side by side. The task yields a block whenever it has `BLOCK_ROWS` rows, so neither it nor the driver ever
holds a corpus, and Ray Data holds the reading back when what follows is slower.
"""

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.data
from ray.data.block import BlockMetadata

from inbol_ray.config.corpora import BenchmarkConfig, CorpusConfig
from inbol_ray.config.machines import StorageConfig
from inbol_ray.corpora.corpus_files import CorpusFiles
from inbol_ray.corpora.disk_index import DiskIndex
from inbol_ray.corpora.registry import READERS
from inbol_ray.corpora.sample import StratifiedSample
from inbol_ray.errors import DataError, InbolError
from inbol_ray.rows import QUESTION, Question, Rejected

BLOCK_ROWS = 2_000
BLOCK_BYTES = 2 << 20
UNREADABLE = "unreadable_corpus"
"""Reason of the row in which a corpus ends whose file cannot be read on."""
NOT_DRAWN = "not_drawn"
"""Reason of the row in which a corpus with `sample` ends: `num_not_drawn` of its questions are not in the subset."""
CORPUS_ROW = pa.unify_schemas(
    [
        QUESTION,
        pa.schema([(name, pa.string()) for name in ("benchmark", "domain", "reason", "detail")]),
        pa.schema([("num_not_drawn", pa.int64())]),
    ]
)
"""A `Question`, or a row with a `reason`, where only the id, dataset and split are set: a rejected row, whose `detail`
says why, or the one of NOT_DRAWN.

`benchmark` and `domain` are null in training corpora.
"""


@dataclass(frozen=True)
class CorpusSource:
    """A configured corpus, the folder or URI that its `root` stands for, where embedded images go, and the seed that a
    `sample` of it is drawn with."""

    corpus: CorpusConfig
    root: str
    storage: StorageConfig = StorageConfig()
    image_folder: str | None = None
    seed: int = 0

    def open(self, wanted_images: Container[str] | None = None) -> CorpusFiles:
        return CorpusFiles(self.root, self.storage, self.image_folder, wanted_images)


@dataclass(frozen=True)
class NotDrawn:
    """The end of a corpus of which a subset was drawn."""

    num_questions: int


def read_corpora(sources: Sequence[CorpusSource]) -> ray.data.Dataset:
    """Rows (CORPUS_ROW) of the corpora, one after the other and each in file order, as a lazy dataset.

    Raises DataError at once where a corpus has no files. One that turns out unreadable later ends with a row of the
    reason `UNREADABLE`, for which `stream_tables` raises: consume the dataset through that.
    """
    for source in sources:
        check_files(source)
    dataset = ray.data.read_datasource(_CorpusDatasource(sources), override_num_blocks=len(sources))
    dataset.context.execution_options.preserve_order = True
    # Ray Data would gather the blocks to 128 MiB, some hundred thousand rows, for whoever looks at them one by one.
    dataset.context.target_max_block_size = BLOCK_BYTES
    return dataset


def check_files(source: CorpusSource) -> None:
    """Raise DataError where the corpus's files are missing."""
    with source.open() as files:
        READERS[source.corpus.dataset](files, source.corpus.split)


def read_rows(source: CorpusSource) -> Iterator[Question | Rejected | NotDrawn]:
    """Rows of one corpus in file order, in this process.

    With `sample` the rejected rows come first, all of them, then the questions of the subset, then how many are not in
    it. Of several questions with one id the first is kept and the others are rejected as `duplicate_id`. Raises
    DataError where a file is missing or unreadable.
    """
    if source.corpus.sample is None:
        with source.open() as files:
            yield from _rows_once(files, source.corpus)
        return
    with StratifiedSample(source.corpus.sample, source.seed) as sample:
        with source.open(wanted_images=()) as files:
            for row in _rows_once(files, source.corpus):
                if isinstance(row, Question):
                    sample.add(row)
                else:
                    yield row
        if files.passed_over:
            _save_images(source, {reference for question in sample.drawn() for reference in question.images})
        yield from sample.drawn()
        yield NotDrawn(sample.num_seen - sample.num_drawn)


def _rows_once(files: CorpusFiles, corpus: CorpusConfig) -> Iterator[Question | Rejected]:
    with DiskIndex() as first_row:
        for number, row in enumerate(READERS[corpus.dataset](files, corpus.split)):
            if isinstance(row, Question) and not first_row.add(row.id, number):
                row = _duplicate(row, files.root, number, first_row.get(row.id))
            yield row


def _save_images(source: CorpusSource, wanted: set[str]) -> None:
    """Read the corpus again for the embedded images of a subset: until it is drawn, no image is known to be needed."""
    with source.open(wanted_images=wanted) as files:
        for _ in READERS[source.corpus.dataset](files, source.corpus.split):
            pass


def stream_tables(dataset: ray.data.Dataset) -> Iterator[pa.Table]:
    """Blocks of a dataset of corpora as Arrow tables, one in memory at a time. Raises DataError for `UNREADABLE`."""
    for table in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1):
        for detail in table.filter(pc.equal(table["reason"], UNREADABLE))["detail"].to_pylist():
            raise DataError(detail)
        yield table


class _CorpusDatasource(ray.data.Datasource):
    """One read task a corpus, each a generator of blocks."""

    def __init__(self, sources: Sequence[CorpusSource]) -> None:
        super().__init__()
        self.sources = sources

    def estimate_inmemory_data_size(self) -> int | None:
        return None

    def get_read_tasks(self, parallelism, per_task_row_limit=None, data_context=None) -> list[ray.data.ReadTask]:
        metadata = BlockMetadata(num_rows=None, size_bytes=None, exec_stats=None)
        return [
            ray.data.ReadTask(
                lambda source=source: _read_blocks(source), metadata, CORPUS_ROW, per_task_row_limit=per_task_row_limit
            )
            for source in self.sources
        ]


def _read_blocks(source: CorpusSource) -> Iterator[pa.Table]:
    corpus = source.corpus
    benchmark = {}
    if isinstance(corpus, BenchmarkConfig):
        benchmark = {"benchmark": corpus.dataset, "domain": corpus.domain}
    rows = _rows_and_error(source)
    while True:
        block = [_to_row(row, corpus) | benchmark for row in islice(rows, BLOCK_ROWS)]
        yield pa.Table.from_pylist(block, schema=CORPUS_ROW)
        if len(block) < BLOCK_ROWS:
            return


def _rows_and_error(source: CorpusSource) -> Iterator[Question | Rejected | NotDrawn]:
    """An error of ours travels as a row: as an exception, Ray Data would wrap it and print two pages of its own code."""
    try:
        yield from read_rows(source)
    except InbolError as error:
        yield Rejected(f"{source.corpus.dataset}:{source.corpus.split}", source.corpus.dataset, UNREADABLE, str(error))


def _to_row(row: Question | Rejected | NotDrawn, corpus: CorpusConfig) -> dict:
    if isinstance(row, Question):
        return row.to_row()
    place = {"dataset": corpus.dataset, "split": corpus.split}
    if isinstance(row, NotDrawn):
        whole = f"{corpus.dataset}:{corpus.split}"
        return place | {"id": whole, "reason": NOT_DRAWN, "num_not_drawn": row.num_questions}
    return place | {"id": row.id, "reason": row.reason, "detail": row.detail}


def _duplicate(question: Question, root: str, number: int, first: int) -> Rejected:
    detail = (
        f"{root}, questions of {question.dataset}, split {question.split}, row {number} (from 0), field 'id': found "
        f"{question.id}, which row {first} has, expected every id once. Row {first} was kept: remove row {number} or "
        "give it an id of its own."
    )
    return Rejected(question.id, question.dataset, "duplicate_id", detail)
