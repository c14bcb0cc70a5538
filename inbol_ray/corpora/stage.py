"""Stage: every configured corpus and benchmark -> Question rows in Parquet.

CORPUS_ROW, a block at a time -> `benchmarks.parquet`, `train.parquet`, `rejected.parquet`; embedded images -> `images/`
"""

import pyarrow as pa
import pyarrow.compute as pc

from inbol_ray.artifacts import StageContext
from inbol_ray.config.corpora import TOYWORLD_PREFIX, CorpusConfig
from inbol_ray.config.schema import PipelineConfig
from inbol_ray.corpora.leakage import EvaluationKeys, Leaks, with_keys
from inbol_ray.corpora.read import CorpusSource, read_corpora, stream_tables
from inbol_ray.errors import LeakageError
from inbol_ray.row_writer import RowWriter
from inbol_ray.rows import QUESTION, Rejected

BENCHMARK_QUESTION = pa.unify_schemas(
    [QUESTION, pa.schema([pa.field("benchmark", pa.string()), pa.field("domain", pa.string())])]
)
LEAKED = "in_evaluation"
"""Reason of a training question that was dropped because the evaluation uses its image or asks it."""


def build_questions(context: StageContext) -> dict[str, int]:
    """Read the benchmarks, then the training corpora, which are checked for leakage as `config.leakage` says.

    Raises DataError where a file is missing or unreadable, and LeakageError.
    """
    config = context.config
    toyworld = context.input_uris.get("toyworld")
    image_folder = f"{context.uri}/images"
    # Benchmarks first: the training rows are compared with what they use.
    corpora = [*config.evaluation.benchmarks, *config.corpora]
    rows = read_corpora([corpus_source(corpus, config, toyworld, image_folder) for corpus in corpora])
    with (
        EvaluationKeys() as keys,
        RowWriter(context.folder / "benchmarks.parquet", BENCHMARK_QUESTION) as benchmarks,
        RowWriter(context.folder / "train.parquet", QUESTION) as train,
    ):
        for table in stream_tables(with_keys(rows, compare_content=config.leakage.compare_content)):
            questions = keep_questions(context, table)
            of_benchmark = pc.is_valid(questions["benchmark"])
            if (test := questions.filter(of_benchmark)).num_rows:
                assert train.num_rows == 0, "benchmarks come before training corpora"
                keys.add(test)
                benchmarks.write_table(test)
            if (rest := questions.filter(pc.invert(of_benchmark))).num_rows:
                found = keys.find_leaks(rest)
                train.write_table(_drop(context, rest, found) if config.leakage.on_leak == "drop" else rest)
        raise_if_leaking(keys.leaks, config)
    return {"train": train.num_rows, "test": benchmarks.num_rows, "train_in_evaluation": keys.leaks.total}


def corpus_source(
    corpus: CorpusConfig, config: PipelineConfig, toyworld: str | None, image_folder: str
) -> CorpusSource:
    """Where a corpus is read from; `toyworld:NAME` is a folder of the toy world, whose artifact's URI is `toyworld`."""
    root = corpus.root
    if root.startswith(TOYWORLD_PREFIX):
        root = f"{toyworld}/corpora/{root.removeprefix(TOYWORLD_PREFIX)}"
    return CorpusSource(corpus, root, config.storage, image_folder)


def raise_if_leaking(leaks: Leaks, config: PipelineConfig) -> None:
    """Raise LeakageError if training questions are in the evaluation and the configuration does not allow it."""
    if leaks.total and config.leakage.on_leak == "error":
        raise LeakageError(
            f"{leaks.describe()}\nExpected none. Set leakage.on_leak to `drop` to train without them, or to `allow` to "
            "train on them all the same; the manifest records which."
        )


def keep_questions(context: StageContext, table: pa.Table) -> pa.Table:
    """The questions of a table; its rejected rows go to `context`."""
    rejected = table.filter(pc.is_valid(table["reason"]))
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
