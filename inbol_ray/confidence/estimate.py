"""Question -> SampledAnswers: N responses from the original model, each judged by the corpus's own rule.

confidence = correct / N (paper section 2, accuracy-based confidence)
"""

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from inbol_ray.artifacts import StageContext
from inbol_ray.confidence.dataset import DESCRIPTION, describe, publish, read_dataset
from inbol_ray.confidence.estimators import likelihood, self_consistency
from inbol_ray.confidence.stopping import AdaptiveRounds
from inbol_ray.config.model import PromptConfig
from inbol_ray.config.sampling import SamplingConfig, ScoringConfig
from inbol_ray.corpora.disk_index import DiskIndex
from inbol_ray.errors import DataError
from inbol_ray.prompts import chat_prompt, render_question
from inbol_ray.provenance import package_versions
from inbol_ray.row_writer import write_rows
from inbol_ray.rows import QUESTION, SAMPLED_ANSWERS, Question, Rejected
from inbol_ray.sampling.checkpoints import model_digest
from inbol_ray.sampling.generate import generate
from inbol_ray.sampling.parts import Parts
from inbol_ray.sampling.vllm_engine import Decoding
from inbol_ray.scoring.answer_match import OURS
from inbol_ray.scoring.outcome import judge_reply

BATCH_ROWS = 1024
"""Rows that are in memory at a time, beside those that a Parquet writer gathers."""
REQUEST = QUESTION.append(pa.field("prompt", pa.string())).append(pa.field("checkpoint", pa.string()))


def estimate_confidence(context: StageContext) -> dict[str, int]:
    """Stage: sample every training question, every unanswerable question and, for figure 4, every test question.

    Reads `questions`, `unanswerable` and `checkpoint`; writes `answers.parquet` (SAMPLED_ANSWERS, sorted by id) and
    its description, `dataset.json`, and both to `sampling.publish_uri`.
    Raises DataError for questions that share an id.
    """
    config = context.config
    sampling = config.sampling
    checkpoint = context.checkpoint("checkpoint")
    model = {"checkpoint": checkpoint, "digest": model_digest(checkpoint)}
    path = context.folder / "answers.parquet"
    with DiskIndex() as questions:
        num_questions = _read_questions(context, questions)
        counts = _write_answers(context, path, _sampled(context, questions, model))
    context.check_rows(num_questions, counts["questions"])
    description = describe(
        path,
        model=model,
        settings=context.settings,
        counts=dict(counts),
        rejected=dict(context.rejected),
        packages=package_versions(),
    )
    (context.folder / DESCRIPTION).write_text(json.dumps(description, indent=1))
    if sampling.publish_uri is not None:
        publish(path, description, sampling.publish_uri, config.storage)
    return {"questions": counts["questions"], "samples": counts["samples"]}


def _sampled(context: StageContext, questions: DiskIndex, model: dict) -> Iterator[dict]:
    """Question rows with samples or the reason for none, by id: drawn now, or taken from what was drawn before."""
    sampling = context.config.sampling
    if sampling.reuse_uri is None:
        return _sample(context, questions, model["checkpoint"]).rows()
    dataset = read_dataset(
        sampling.reuse_uri,
        context.config.storage,
        model["digest"],
        allow_other_checkpoint=sampling.allow_other_checkpoint,
    )
    return _take(questions, dataset)


def _write_answers(context: StageContext, path: Path, rows: Iterator[dict]) -> Counter[str]:
    """Judge the samples; returns the numbers of `questions` and `samples` that were written."""
    sampling, scoring = context.config.sampling, context.config.scoring
    counts: Counter[str] = Counter()

    def judge() -> Iterator[dict]:
        for row in rows:
            if row["reason"]:
                context.reject([Rejected(row["id"], "confidence", row["reason"], row["detail"])])
                continue
            counts["samples"] += len(row["responses"])
            yield judge_samples(Question.from_row(row), row, sampling, scoring)

    counts["questions"] = write_rows(path, judge(), SAMPLED_ANSWERS)
    return counts


def judge_samples(question: Question, row: dict, sampling: SamplingConfig, scoring: ScoringConfig = OURS) -> dict:
    """A SAMPLED_ANSWERS row, from one with `responses`, `token_logprobs` and `checkpoint`."""
    threshold = sampling.correct_threshold
    outcomes = [judge_reply(response, question, threshold, scoring) for response in row["responses"]]
    kinds = [outcome.kind for outcome in outcomes]
    return question.to_row() | {
        "responses": row["responses"],
        "outcomes": kinds,
        "scores": [outcome.score for outcome in outcomes],
        "token_logprobs": row["token_logprobs"],
        "confidence": kinds.count("correct") / len(kinds),
        "self_consistency": self_consistency(question, row["responses"], kinds),
        "likelihood": likelihood(row["token_logprobs"], kinds),
        "checkpoint": row["checkpoint"],
    }


def _read_questions(context: StageContext, questions: DiskIndex) -> int:
    """Fill the index with QUESTION rows as JSON, by id; returns their number."""
    paths = [context.inputs["questions"] / "train.parquet", context.inputs["unanswerable"] / "questions.parquet"]
    if context.config.evaluation.sample_confidence:
        paths.append(context.inputs["questions"] / "benchmarks.parquet")
    repeated: list[str] = []
    count = 0
    for path in paths:
        for batch in pq.ParquetFile(path).iter_batches(BATCH_ROWS, columns=QUESTION.names):
            count += batch.num_rows
            repeated += [row["id"] for row in batch.to_pylist() if not questions.add(row["id"], json.dumps(row))]
    if repeated:
        raise DataError(f"{len(repeated)} ids name several questions, {repeated[0]!r} for example; ids must be unique")
    return count


def _sample(context: StageContext, questions: DiskIndex, checkpoint: str) -> Parts:
    """Question rows with `checkpoint` and REPLY, by id."""
    config = context.config
    sampling = config.sampling
    return generate(
        _requests(questions, checkpoint, config.prompts),
        [checkpoint],
        config,
        Decoding(sampling.num_samples, sampling.temperature, sampling.max_tokens, num_logprobs=0),
        folder=f"{context.resume}/samples",
        unit="questions",
        progress=context.progress,
        rounds=AdaptiveRounds(sampling, config.classes, config.scoring) if sampling.adaptive else None,
    )


def _requests(questions: DiskIndex, checkpoint: str, prompts: PromptConfig) -> Iterator[pa.Table]:
    """Tables of REQUEST, by id."""
    items = questions.items()
    while rows := [json.loads(value) for _, value in itertools.islice(items, BATCH_ROWS)]:
        for row in rows:
            prompt = render_question(Question.from_row(row), prompts)
            row |= {"prompt": chat_prompt(prompt, num_images=len(row["images"])), "checkpoint": checkpoint}
        yield pa.Table.from_pylist(rows, schema=REQUEST)


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
