"""One entry to all corpora: CorpusConfig -> streaming Ray Dataset of CORPUS_ROW.

A corpus is read by one task, since its files are streams whose rows must come once each and in order; several corpora
are read side by side. The task yields a block whenever it has `BLOCK_ROWS` rows, so neither it nor the driver ever
holds a corpus, and Ray Data holds the reading back when what follows is slower.
"""

from collections.abc import Iterator, Sequence
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.data
from ray.data.block import BlockMetadata

from inbol_ray.config.corpora import BenchmarkConfig, CorpusConfig
from inbol_ray.corpora.source import CorpusSource, NotDrawn, check_files, read_rows
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
