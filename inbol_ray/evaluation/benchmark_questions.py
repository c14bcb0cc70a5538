"""The questions of benchmarks in this process, without Ray.

BenchmarkConfig -> BENCHMARK_QUESTION rows
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from inbol_ray.config.corpora import BenchmarkConfig
from inbol_ray.corpora.registry import check_readers
from inbol_ray.corpora.source import CorpusSource, read_rows
from inbol_ray.rows import Question, Rejected

NOT_KEPT = "images-not-kept"
"""Folder in references to images that a benchmark's own files embed: scoring needs no pixels, so none are written."""


@dataclass(slots=True)
class BenchmarkQuestions:
    """BENCHMARK_QUESTION rows; `rejected` counts what readers could not use, by benchmark and reason."""

    rows: list[dict] = field(default_factory=list)
    rejected: dict[str, Counter[str]] = field(default_factory=dict)


def read_benchmarks(benchmarks: Sequence[BenchmarkConfig]) -> BenchmarkQuestions:
    """Questions of benchmarks at local roots. Raises ConfigError for a dataset without a reader, DataError where a file is
    missing or unreadable."""
    check_readers(benchmarks, "benchmarks")
    return read_questions(CorpusSource(one, one.root, image_folder=NOT_KEPT) for one in benchmarks)


def read_questions(sources: Iterable[CorpusSource]) -> BenchmarkQuestions:
    found = BenchmarkQuestions()
    for source in sources:
        corpus = source.corpus
        for row in read_rows(replace(source, keep_images=False)):
            if isinstance(row, Question):
                found.rows.append(row.to_row() | {"benchmark": corpus.dataset, "domain": corpus.domain})
            elif isinstance(row, Rejected):
                found.rejected.setdefault(f"{corpus.dataset}:{corpus.split}", Counter())[row.reason] += 1
    return found
