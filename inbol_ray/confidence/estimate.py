"""Question -> SampledAnswers: N responses from the original model, each judged by the corpus's own rule.

confidence = correct / N (paper section 2, accuracy-based confidence)
"""

import json
from collections import Counter
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from inbol_ray.artifacts import StageContext
from inbol_ray.confidence.dataset import DESCRIPTION, describe, publish, read_dataset
from inbol_ray.confidence.estimators import likelihood, self_consistency
from inbol_ray.confidence.stopping import AdaptiveRounds
from inbol_ray.config.sampling import SamplingConfig, ScoringConfig
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
    questions = _read_questions(context)
    if sampling.reuse_uri is None:
        rows = _sample(context, questions, checkpoint).rows()
    else:
        dataset = read_dataset(
            sampling.reuse_uri,
            config.storage,
            model["digest"],
            allow_other_checkpoint=sampling.allow_other_checkpoint,
        )
        rows = _take(questions, dataset)
    counts: Counter[str] = Counter()

    def judge() -> Iterator[dict]:
        for row in rows:
            if row["reason"]:
                context.reject([Rejected(row["id"], "confidence", row["reason"], row["detail"])])
                continue
            counts["samples"] += len(row["responses"])
            yield judge_samples(Question.from_row(row), row, sampling, config.scoring)

    path = context.folder / "answers.parquet"
    counts["questions"] = write_rows(path, judge(), SAMPLED_ANSWERS)
    context.check_rows(questions.num_rows, counts["questions"])
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


def _read_questions(context: StageContext) -> pa.Table:
    """QUESTION rows by id."""
    tables = [
        pq.read_table(context.inputs["questions"] / "train.parquet"),
        pq.read_table(context.inputs["unanswerable"] / "questions.parquet"),
    ]
    if context.config.evaluation.sample_confidence:
        tables.append(pq.read_table(context.inputs["questions"] / "benchmarks.parquet"))
    questions = pa.concat_tables(table.select(QUESTION.names) for table in tables).sort_by("id")
    if repeated := [id for id, count in Counter(questions["id"].to_pylist()).items() if count > 1]:
        raise DataError(f"{len(repeated)} ids name several questions, {repeated[0]!r} for example; ids must be unique")
    return questions


def _sample(context: StageContext, questions: pa.Table, checkpoint: str) -> Parts:
    """Question rows with `checkpoint` and REPLY, by id."""
    config = context.config
    sampling = config.sampling
    prompts = [
        chat_prompt(render_question(Question.from_row(row), config.prompts), num_images=len(row["images"]))
        for batch in questions.to_batches(max_chunksize=1024)
        for row in batch.to_pylist()
    ]
    requests = questions.append_column("prompt", pa.array(prompts, pa.string())).append_column(
        "checkpoint", pa.array([checkpoint] * questions.num_rows, pa.string())
    )
    return generate(
        requests,
        config,
        Decoding(sampling.num_samples, sampling.temperature, sampling.max_tokens, num_logprobs=0),
        folder=f"{context.resume}/samples",
        unit="questions",
        progress=context.progress,
        rounds=AdaptiveRounds(sampling, config.classes, config.scoring) if sampling.adaptive else None,
    )


def _take(questions: pa.Table, dataset: pa.Table) -> Iterator[dict]:
    """Question rows with samples or the reason for none, from a dataset that was sampled before."""
    sampled = {row["id"]: row for row in dataset.to_pylist()}
    for row in questions.to_pylist():
        found = sampled.get(row["id"])
        reason = detail = ""
        if found is None:
            reason, detail = "not_sampled", "the dataset of sampling.reuse_uri does not hold this question"
        elif found["question"] != row["question"]:
            reason = "other_question"
            detail = f"the dataset of sampling.reuse_uri asks {found['question']!r} under this id"
        samples = {name: found[name] for name in ("responses", "token_logprobs", "checkpoint")} if found else {}
        yield row | samples | {"reason": reason, "detail": detail}
