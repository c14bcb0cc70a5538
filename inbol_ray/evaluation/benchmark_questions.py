"""The questions of benchmarks in this process, without Ray: what a configuration's run has read, or the corpora
themselves.

BenchmarkConfig, or PipelineConfig -> BENCHMARK_QUESTION rows
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import pyarrow.parquet as pq

from inbol_ray.config.corpora import TOYWORLD_PREFIX, BenchmarkConfig
from inbol_ray.config.schema import PipelineConfig
from inbol_ray.corpora.source import CorpusSource, corpus_source, read_rows
from inbol_ray.errors import MissingInputError
from inbol_ray.rows import Question, Rejected

_NOT_KEPT = "images-not-kept"
"""Folder in references to images that a benchmark's own files embed: scoring needs no pixels, so none are written."""


@dataclass(slots=True)
class BenchmarkQuestions:
    """BENCHMARK_QUESTION rows; `rejected` counts what readers could not use, by benchmark and reason."""

    rows: list[dict] = field(default_factory=list)
    rejected: dict[str, Counter[str]] = field(default_factory=dict)


def read_benchmarks(benchmarks: Sequence[BenchmarkConfig]) -> BenchmarkQuestions:
    """Questions of benchmarks at local roots. Raises DataError where a file is missing or unreadable."""
    return _read(CorpusSource(one, one.root, image_folder=_NOT_KEPT) for one in benchmarks)


def read_configured_benchmarks(config: PipelineConfig) -> BenchmarkQuestions:
    """Questions of `evaluation.benchmarks`; what the configuration's run has read before is taken from there.

    Raises DataError as `read_benchmarks`, and MissingInputError for benchmarks of a toy world that is not rendered.
    """
    # Here, so that a file of replies is scored where neither Ray nor an object store's client is installed.
    from inbol_ray.pipeline import build_stages
    from inbol_ray.store.artifacts import open_store

    store, stages = open_store(config), build_stages(config)
    if store.manifest(stages["benchmarks"]) is not None:
        return BenchmarkQuestions(pq.read_table(store.folder(stages["benchmarks"]) / "benchmarks.parquet").to_pylist())
    benchmarks, toyworld = config.evaluation.benchmarks, None
    if any(one.root.startswith(TOYWORLD_PREFIX) for one in benchmarks):
        if store.manifest(stages["toyworld"]) is None:
            raise MissingInputError(
                f"{config.output_dir}: the toy world of this configuration has not been rendered; run the job `pipeline` first"
            )
        toyworld = store.uri(stages["toyworld"])
    return _read(corpus_source(one, config, toyworld, _NOT_KEPT) for one in benchmarks)


def _read(sources: Iterable[CorpusSource]) -> BenchmarkQuestions:
    found = BenchmarkQuestions()
    for source in sources:
        corpus = source.corpus
        for row in read_rows(replace(source, keep_images=False)):
            if isinstance(row, Question):
                found.rows.append(row.to_row() | {"benchmark": corpus.dataset, "domain": corpus.domain})
            elif isinstance(row, Rejected):
                found.rejected.setdefault(f"{corpus.dataset}:{corpus.split}", Counter())[row.reason] += 1
    return found
