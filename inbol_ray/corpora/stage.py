"""Stage: every configured corpus and benchmark -> Question rows in Parquet."""

from pathlib import Path

import pyarrow as pa

from inbol_ray.artifacts import StageContext, write_rows
from inbol_ray.config.schema import TOYWORLD_PREFIX, CorpusConfig
from inbol_ray.corpora.read import read_questions
from inbol_ray.rows import QUESTION, Question, Rejected

BENCHMARK_QUESTION = pa.unify_schemas(
    [QUESTION, pa.schema([pa.field("benchmark", pa.string()), pa.field("domain", pa.string())])]
)


def build_questions(context: StageContext) -> dict[str, int]:
    """Read the training corpora into `train.parquet` and the benchmarks into `benchmarks.parquet`."""
    config = context.config
    train = [question.to_row() for corpus in config.corpora for question in _read(context, corpus)]
    benchmarks = [
        question.to_row() | {"benchmark": benchmark.dataset, "domain": benchmark.domain}
        for benchmark in config.evaluation.benchmarks
        for question in _read(context, benchmark)
    ]
    return {
        "train": write_rows(context.folder / "train.parquet", train, QUESTION),
        "test": write_rows(context.folder / "benchmarks.parquet", benchmarks, BENCHMARK_QUESTION),
    }


def _read(context: StageContext, corpus: CorpusConfig) -> list[Question]:
    questions = []
    for row in read_questions(corpus, str(corpus_root(context, corpus))):
        if isinstance(row, Rejected):
            context.reject([row])
        else:
            questions.append(row)
    return questions


def corpus_root(context: StageContext, corpus: CorpusConfig) -> Path:
    """The folder of a corpus; `toyworld:NAME` is one that the toy world wrote."""
    if corpus.root.startswith(TOYWORLD_PREFIX):
        return context.inputs["toyworld"] / "corpora" / corpus.root.removeprefix(TOYWORLD_PREFIX)
    return Path(corpus.root)
