"""Stage: every configured corpus and benchmark -> Question rows in Parquet."""

from dataclasses import replace

import pyarrow as pa

from inbol_ray.artifacts import StageContext, write_rows
from inbol_ray.config.schema import TOYWORLD_PREFIX, CorpusConfig
from inbol_ray.corpora.read import read_questions
from inbol_ray.local_copies import local_copy
from inbol_ray.rows import QUESTION, Question, Rejected
from inbol_ray.storage import is_remote

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
    root = corpus_root(context, corpus)
    folder = local_copy(root)
    for row in read_questions(corpus, folder):
        if isinstance(row, Rejected):
            context.reject([row])
        else:
            # The row outlives this machine's copy.
            images = [image.replace(folder, root, 1) for image in row.images] if is_remote(root) else row.images
            questions.append(replace(row, images=images))
    return questions


def corpus_root(context: StageContext, corpus: CorpusConfig) -> str:
    """The folder, or `s3://` URI, of a corpus; `toyworld:NAME` is one that the toy world wrote."""
    if corpus.root.startswith(TOYWORLD_PREFIX):
        return f"{context.input_uris['toyworld']}/corpora/{corpus.root.removeprefix(TOYWORLD_PREFIX)}"
    return corpus.root
