"""Stages: configured corpora and benchmarks -> Question rows in Parquet, and what the two have in common.

CORPUS_ROW, a block at a time -> `benchmarks.parquet` or `train.parquet`, each with `keys.parquet` (leakage.KEYS) and
`rejected.parquet`; embedded images -> `images/`
"""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from inbol_ray.config.corpora import TOYWORLD_PREFIX, BenchmarkConfig, CorpusConfig, OnLeak
from inbol_ray.config.machines import StorageConfig
from inbol_ray.config.schema import PipelineConfig
from inbol_ray.config.section import Section
from inbol_ray.corpora.leakage import KEYS, EvaluationKeys, Leaks, with_keys
from inbol_ray.corpora.read import NOT_DRAWN, read_corpora, stream_tables
from inbol_ray.corpora.registry import check_readers
from inbol_ray.corpora.source import CorpusSource, corpus_source
from inbol_ray.errors import LeakageError
from inbol_ray.rows import QUESTION, Rejected
from inbol_ray.runtime.stage import Stage, StageContext, present
from inbol_ray.runtime.work import ROW_BYTES, Work
from inbol_ray.store.row_writer import RowWriter
from inbol_ray.store.storage import is_remote

BENCHMARK_QUESTION = pa.unify_schemas(
    [QUESTION, pa.schema([pa.field("benchmark", pa.string()), pa.field("domain", pa.string())])]
)
KEYS_FILE = "keys.parquet"
LEAKED = "in_evaluation"
"""Reason of a training question that was dropped because the evaluation uses its image or asks it."""


class CorporaSettings(Section):
    """What reading corpora depends on."""

    corpora: list[CorpusConfig | BenchmarkConfig]
    compare_content: bool
    """`leakage.compare_content`."""
    seed: int | None
    """Of the subsets that are drawn; null where none is."""
    store: StorageConfig | None
    """Where corpora are in a store: with another endpoint they are others."""

    @classmethod
    def of(cls, corpora: Sequence[CorpusConfig], config: PipelineConfig, section: str) -> "CorporaSettings":
        """`section` names the corpora in errors. Raises ConfigError for a dataset without a reader."""
        check_readers(corpora, section)
        return cls(
            corpora=list(corpora),
            compare_content=config.leakage.compare_content,
            seed=config.seed if any(corpus.sample for corpus in corpora) else None,
            store=config.storage if any(is_remote(corpus.root) for corpus in corpora) else None,
        )


class LeakageSettings(Section):
    on_leak: OnLeak


def in_toyworld(corpora: Sequence[CorpusConfig]) -> bool:
    """Whether any of these corpora is one that the toy world wrote."""
    return any(corpus.root.startswith(TOYWORLD_PREFIX) for corpus in corpora)


def benchmarks_stage(config: PipelineConfig, toyworld: Stage | None) -> Stage[CorporaSettings]:
    return Stage(
        "benchmarks",
        "read the benchmarks",
        build_benchmarks,
        version=1,
        settings=CorporaSettings.of(config.evaluation.benchmarks, config, "evaluation.benchmarks"),
        inputs=present(toyworld=toyworld if in_toyworld(config.evaluation.benchmarks) else None),
        streams=True,
        work=lambda _, sizes: _work(sizes.test),
    )


def questions_stage(config: PipelineConfig, toyworld: Stage | None, benchmarks: Stage) -> Stage[CorporaSettings]:
    return Stage(
        "questions",
        "read the training corpora",
        build_questions,
        version=1,
        settings=CorporaSettings.of(config.corpora, config, "corpora"),
        inputs=present(
            toyworld=toyworld if in_toyworld(config.corpora) else None,
            # Only so do benchmarks change what is trained on: one more leaves samples and checkpoints as they are.
            benchmarks=benchmarks if config.leakage.on_leak == "drop" else None,
        ),
        streams=True,
        work=lambda _, sizes: _work(sizes.train),
    )


def leakage_stage(config: PipelineConfig, questions: Stage, benchmarks: Stage) -> Stage[LeakageSettings]:
    return Stage(
        "leakage",
        "compare training and evaluation",
        check_leakage,
        version=1,
        settings=LeakageSettings(on_leak=config.leakage.on_leak),
        inputs={"questions": questions, "benchmarks": benchmarks},
    )


def _work(num_questions: int) -> Work:
    return Work("questions", num_questions, bytes_written=ROW_BYTES * num_questions)


def build_benchmarks(context: StageContext[CorporaSettings]) -> dict[str, int]:
    """Read the benchmarks; writes `benchmarks.parquet` (BENCHMARK_QUESTION). Raises DataError as `read_corpora`."""
    path = context.folder / "benchmarks.parquet"
    with RowWriter(path, BENCHMARK_QUESTION) as rows, RowWriter(context.folder / KEYS_FILE, KEYS) as keys:
        for table in _read(context):
            rows.write_table(table)
            keys.write_table(table)
    return {"test": rows.num_rows}


def build_questions(context: StageContext[CorporaSettings]) -> dict[str, int]:
    """Read the training corpora; writes `train.parquet` (QUESTION). Raises DataError as `read_corpora`.

    With the input `benchmarks`, questions that the evaluation has too are rejected as `in_evaluation`.
    """
    path = context.folder / "train.parquet"
    with (
        EvaluationKeys() as evaluation,
        RowWriter(path, QUESTION) as rows,
        RowWriter(context.folder / KEYS_FILE, KEYS) as keys,
    ):
        if drops := "benchmarks" in context.inputs:
            evaluation.add_file(context.inputs["benchmarks"] / KEYS_FILE)
        for table in _read(context):
            kept = _drop(context, table, evaluation.find_leaks(table)) if drops else table
            rows.write_table(kept)
            keys.write_table(kept)
    return {"train": rows.num_rows}


def check_leakage(context: StageContext[LeakageSettings]) -> dict[str, int]:
    """Count the training questions that the evaluation has too. Raises LeakageError as `config.leakage` says."""
    with EvaluationKeys() as evaluation:
        evaluation.add_file(context.inputs["benchmarks"] / KEYS_FILE)
        for batch in pq.ParquetFile(context.inputs["questions"] / KEYS_FILE).iter_batches():
            evaluation.find_leaks(pa.Table.from_batches([batch]))
        raise_if_leaking(evaluation.leaks, context.settings.on_leak)
        return {"train_in_evaluation": evaluation.leaks.total}


def _read(context: StageContext[CorporaSettings]) -> Iterator[pa.Table]:
    """Tables of the questions of corpora, with their keys; what cannot be used is rejected."""
    settings = context.settings
    if not settings.corpora:
        return
    rows = read_corpora(sources_of(context, settings.corpora, settings.seed))
    for table in stream_tables(with_keys(rows, compare_content=settings.compare_content)):
        yield keep_questions(context, table)


def sources_of(context: StageContext, corpora: Sequence[CorpusConfig], seed: int | None) -> list[CorpusSource]:
    """Where a stage reads its corpora; embedded images go to its own `images/`."""
    toyworld, images = context.input_uris.get("toyworld"), f"{context.uri}/images"
    return [corpus_source(corpus, toyworld, images, context.storage, seed or 0) for corpus in corpora]


def raise_if_leaking(leaks: Leaks, on_leak: OnLeak) -> None:
    """Raise LeakageError if training questions are in the evaluation and the configuration does not allow it."""
    if leaks.total and on_leak == "error":
        raise LeakageError(
            f"{leaks.describe()}\nExpected none. Set leakage.on_leak to `drop` to train without them, or to `allow` to "
            "train on them all the same; the manifest records which."
        )


def keep_questions(context: StageContext, table: pa.Table) -> pa.Table:
    """The questions of a table; its rejected rows go to `context`, and what a subset left out to its counts."""
    is_end = pc.fill_null(pc.equal(table["reason"], NOT_DRAWN), False)
    for row in table.filter(is_end).select(["id", "num_not_drawn"]).to_pylist():
        context.counts[f"{row['id']}_not_drawn"] = row["num_not_drawn"]
    rejected = table.filter(pc.and_not(pc.is_valid(table["reason"]), is_end))
    context.reject(
        Rejected(row["id"], row["dataset"], row["reason"], row["detail"])
        for row in rejected.select(["id", "dataset", "reason", "detail"]).to_pylist()
    )
    return table.filter(pc.is_null(table["reason"]))


def _drop(context: StageContext, questions: pa.Table, found: list[str | None]) -> pa.Table:
    for row_id, dataset, shared in zip(
        *(questions[name].to_pylist() for name in ("id", "dataset")), found, strict=True
    ):
        if shared is not None:
            context.reject([Rejected(row_id, dataset, LEAKED, shared)])
    return questions.filter(pa.array([shared is None for shared in found], pa.bool_()))
