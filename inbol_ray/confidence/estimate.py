"""Question -> SampledAnswers: N responses from the original model, each judged by the corpus's own rule.

confidence = correct / N (paper section 2, accuracy-based confidence)
"""

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from inbol_ray.confidence.adaptive_rounds import AdaptiveRounds
from inbol_ray.confidence.dataset import DESCRIPTION, describe, publish, read_dataset
from inbol_ray.confidence.judging import Judge
from inbol_ray.config.model import BaseModelConfig, PromptConfig
from inbol_ray.config.sampling import ClassConfig, SamplingConfig, ScoringRules
from inbol_ray.config.schema import PipelineConfig
from inbol_ray.config.section import result_settings
from inbol_ray.corpora.disk_index import DiskIndex
from inbol_ray.errors import DataError
from inbol_ray.models import DEFAULT_FAMILY, question_prompt
from inbol_ray.rows import QUESTION, SAMPLED_ANSWERS, Question, Rejected
from inbol_ray.runtime.stage import Stage, StageContext, present
from inbol_ray.runtime.work import RESPONSE_BYTES, ROW_BYTES, Sizes, Work
from inbol_ray.sampling.checkpoints import model_digest
from inbol_ray.sampling.generate import generate
from inbol_ray.sampling.parts import REPLY, Parts
from inbol_ray.sampling.settings import EngineSettings
from inbol_ray.sampling.vllm_engine import Decoding
from inbol_ray.scoring.outcome import SCORING_VERSION
from inbol_ray.store.provenance import package_versions
from inbol_ray.store.row_writer import RowWriter

BATCH_ROWS = 1024
"""Rows that are in memory at a time, beside those that a Parquet writer gathers."""
ANSWERS = "answers.parquet"
REQUEST = QUESTION.append(pa.field("prompt", pa.string())).append(pa.field("checkpoint", pa.string()))
SAMPLED = pa.unify_schemas([QUESTION, pa.schema([pa.field("checkpoint", pa.string())]), REPLY])
"""A question with its samples, or the reason for none: what `Parts` hold of a REQUEST."""


class ConfidenceSettings(EngineSettings):
    sampling: SamplingConfig
    scoring: ScoringRules
    scoring_version: int = SCORING_VERSION
    classes: ClassConfig | None
    """Where sampling is adaptive: they decide when it stops."""
    base_model: BaseModelConfig


def _settings(config: PipelineConfig, sampling: SamplingConfig) -> ConfidenceSettings:
    return ConfidenceSettings.of(
        config,
        sampling=sampling,
        scoring=config.scoring.rules_alone(),
        classes=config.classes if sampling.adaptive else None,
        base_model=config.base_model,
    )


def confidence_stage(
    config: PipelineConfig, questions: Stage, unanswerable: Stage, original: Stage | None, leakage: Stage
) -> Stage[ConfidenceSettings]:
    return Stage(
        "confidence",
        "sample what the model knows",
        estimate_confidence,
        version=1,
        settings=_settings(config, config.sampling),
        inputs=present(questions=questions, unanswerable=unanswerable, checkpoint=original),
        after=(leakage,),
        needs="engines",
        streams=True,
        work=lambda settings, sizes: _work(settings, sizes, sizes.data),
    )


def benchmark_confidence_stage(
    config: PipelineConfig, benchmarks: Stage, original: Stage | None
) -> Stage[ConfidenceSettings]:
    fresh = {"reuse_uri": None, "publish_uri": None, "allow_other_checkpoint": False}
    return Stage(
        "test_confidence",
        "sample the benchmarks",
        estimate_test_confidence,
        version=1,
        settings=_settings(config, config.sampling.model_copy(update=fresh)),
        inputs=present(benchmarks=benchmarks, checkpoint=original),
        needs="engines",
        streams=True,
        work=lambda settings, sizes: _work(settings, sizes, sizes.test),
    )


def _work(settings: ConfidenceSettings, sizes: Sizes, num_questions: int) -> Work:
    num_samples = settings.sampling.num_samples
    response = min(sizes.response_tokens, settings.sampling.max_tokens)
    return Work(
        "questions",
        num_questions,
        samples=num_questions * num_samples,
        # The prompt is computed once for all samples of a question.
        prompt_tokens=num_questions * sizes.prompt_tokens,
        response_tokens=num_questions * num_samples * response,
        bytes_written=num_questions * (ROW_BYTES + RESPONSE_BYTES * num_samples),
        judged=True,
    )


def estimate_confidence(context: StageContext[ConfidenceSettings]) -> dict[str, int]:
    """Stage: sample every training question and every unanswerable question.

    Reads `questions`, `unanswerable` and `checkpoint`; writes `answers.parquet` (SAMPLED_ANSWERS, sorted by id) and
    its description, `dataset.json`, and both to `sampling.publish_uri`.
    Raises DataError for questions that share an id.
    """
    paths = [context.inputs["questions"] / "train.parquet", context.inputs["unanswerable"] / "questions.parquet"]
    return _estimate(context, paths)


def estimate_test_confidence(context: StageContext[ConfidenceSettings]) -> dict[str, int]:
    """Stage: the same of every test question, for figure 4. Reads `benchmarks` and `checkpoint`."""
    return _estimate(context, [context.inputs["benchmarks"] / "benchmarks.parquet"])


def _estimate(context: StageContext[ConfidenceSettings], paths: Sequence[Path]) -> dict[str, int]:
    settings = context.settings
    checkpoint = context.checkpoint("checkpoint", settings.base_model)
    model = {"checkpoint": checkpoint, "digest": model_digest(checkpoint)}
    path = context.folder / ANSWERS
    with DiskIndex() as questions:
        num_questions = _read_questions(paths, questions)
        counts = _write_answers(context, _judged(context, questions, num_questions, model))
    context.check_rows(num_questions, counts["questions"])
    description = describe(
        path,
        model=model,
        settings=result_settings(settings),
        counts=dict(counts),
        rejected=dict(context.rejected),
        packages=package_versions(),
    )
    (context.folder / DESCRIPTION).write_text(json.dumps(description, indent=1))
    if settings.sampling.publish_uri is not None:
        publish(path, description, settings.sampling.publish_uri, context.storage)
    return {"questions": counts["questions"], "samples": counts["samples"]}


def _judged(
    context: StageContext[ConfidenceSettings], questions: DiskIndex, num_questions: int, model: dict
) -> Iterator[pa.Table]:
    """Tables of `judging.JUDGED`, by id, of samples that are drawn now, or taken from what was drawn before."""
    sampling = context.settings.sampling
    judge = Judge(sampling, context.settings.scoring, context.progress, num_questions)
    if sampling.reuse_uri is None:
        return judge.judge_parts(_sample(context, questions, model["checkpoint"]))
    dataset = read_dataset(
        sampling.reuse_uri,
        context.storage,
        model["digest"],
        allow_other_checkpoint=sampling.allow_other_checkpoint,
    )
    return map(judge, _in_tables(_take(questions, dataset), SAMPLED))


def _write_answers(context: StageContext, judged: Iterator[pa.Table]) -> Counter[str]:
    """Returns the numbers of `questions` and `samples` that were written; questions without samples are rejected."""
    counts: Counter[str] = Counter()
    with RowWriter(context.folder / ANSWERS, SAMPLED_ANSWERS) as answers:
        for table in judged:
            has_samples = pc.equal(table["reason"], "")
            for row in table.filter(pc.invert(has_samples)).select(["id", "reason", "detail"]).to_pylist():
                context.reject([Rejected(row["id"], "confidence", row["reason"], row["detail"])])
            table = table.filter(has_samples)
            answers.write_table(table)
            counts["samples"] += pc.sum(pc.list_value_length(table["responses"])).as_py() or 0
    counts["questions"] = answers.num_rows
    return counts


def _read_questions(paths: Sequence[Path], questions: DiskIndex) -> int:
    """Fill the index with QUESTION rows as JSON, by id; returns their number."""
    repeated: list[str] = []
    count = 0
    for path in paths:
        for batch in pq.ParquetFile(path).iter_batches(BATCH_ROWS, columns=QUESTION.names):
            count += batch.num_rows
            repeated += [row["id"] for row in batch.to_pylist() if not questions.add(row["id"], json.dumps(row))]
    if repeated:
        raise DataError(f"{len(repeated)} ids name several questions, {repeated[0]!r} for example; ids must be unique")
    return count


def _sample(context: StageContext[ConfidenceSettings], questions: DiskIndex, checkpoint: str) -> Parts:
    """Question rows with `checkpoint` and REPLY, by id."""
    settings, sampling = context.settings, context.settings.sampling
    return generate(
        _requests(questions, checkpoint, settings.prompts),
        [checkpoint],
        settings.pool(context.storage),
        Decoding(sampling.num_samples, sampling.temperature, sampling.max_tokens, num_logprobs=0),
        folder=f"{context.resume}/samples",
        unit="questions",
        progress=context.progress,
        rounds=AdaptiveRounds(sampling, settings.classes, settings.scoring) if sampling.adaptive else None,
    )


def _requests(questions: DiskIndex, checkpoint: str, prompts: PromptConfig) -> Iterator[pa.Table]:
    """Tables of REQUEST, by id."""

    def rows() -> Iterator[dict]:
        for _, value in questions.items():
            row = json.loads(value)
            prompt = question_prompt(DEFAULT_FAMILY, Question.from_row(row), prompts)
            yield row | {"prompt": prompt, "checkpoint": checkpoint}

    return _in_tables(rows(), REQUEST)


def _in_tables(rows: Iterator[dict], schema: pa.Schema) -> Iterator[pa.Table]:
    while batch := list(itertools.islice(rows, BATCH_ROWS)):
        yield pa.Table.from_pylist(batch, schema=schema)


def _take(questions: DiskIndex, dataset: pa.Table) -> Iterator[dict]:
    """Question rows with samples or the reason for none, from a dataset (sorted by id) that was sampled before."""
    sampled = (row for batch in dataset.to_batches(BATCH_ROWS) for row in batch.to_pylist())
    found = next(sampled, None)
    for id, value in questions.items():
        row = json.loads(value)
        while found is not None and found["id"].encode() < id.encode():
            found = next(sampled, None)
        if found is None or found["id"] != id:
            yield row | {
                "reason": "not_sampled",
                "detail": "the dataset of sampling.reuse_uri does not hold this question",
            }
        elif found["question"] != row["question"]:
            detail = f"the dataset of sampling.reuse_uri asks {found['question']!r} under this id"
            yield row | {"reason": "other_question", "detail": detail}
        else:
            samples = {name: found[name] for name in ("responses", "token_logprobs", "checkpoint")}
            yield row | samples | {"reason": "", "detail": ""}
