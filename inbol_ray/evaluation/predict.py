"""Stage: the greedy reply of every (model, benchmark) pair to every question, judged -> PREDICTION rows.

Models are the run's own methods and models from outside (`sources`). The replies are kept in `evaluation.replies`'
store, where they stand as soon as they have come; judging them takes seconds and is done over from there.
"""

import json
from collections.abc import Iterator

import pyarrow.parquet as pq

from inbol_ray.artifacts import StageContext
from inbol_ray.config.evaluation import UNTRAINED_METHODS
from inbol_ray.corpora.breakdown import question_classes, question_group
from inbol_ray.evaluation.replies import GreedyReply
from inbol_ray.evaluation.scores import score_group
from inbol_ray.evaluation.sources import Model, checkpoint_model, find_replies, outside_model
from inbol_ray.evaluation.usage import count_usage, total_usage, write_usage
from inbol_ray.progress import write_progress
from inbol_ray.row_writer import write_rows
from inbol_ray.rows import PREDICTION, Question
from inbol_ray.scoring.outcome import NO_REPLY, Outcome, judge_reply


def predict(context: StageContext) -> dict[str, int]:
    """Writes `predictions.parquet`, and `usage.json` where an endpoint was asked. Reads `benchmarks`, a checkpoint a
    trained method and `test_confidence` (figure 4).

    A question that an engine could not answer stays in the table with the outcome `error`.
    """
    config = context.config
    rows = pq.read_table(context.inputs["benchmarks"] / "benchmarks.parquet").to_pylist()
    asked = [(model, row) for model in _models(context) for row in rows if _is_wanted(context, model, row)]
    replies = find_replies(asked, config, context.progress)
    confidences = _read_confidences(context)

    def judged() -> Iterator[dict]:
        for (model, row), reply in zip(asked, replies, strict=True):
            yield _judge(model, row, reply, context) | {"base_confidence": confidences.get(row["id"])}

    predictions = sorted(judged(), key=lambda row: (row["method"], row["benchmark"], row["id"]))
    _publish_trust(context, predictions)
    num_predictions = write_rows(context.folder / "predictions.parquet", predictions, PREDICTION)
    context.check_rows(len(asked), num_predictions)
    usage = count_usage(asked, replies)
    write_usage(usage, context.folder)
    errors = sum(row["outcome"] == "error" for row in predictions)
    return {"predictions": num_predictions, "errors": errors} | total_usage(usage)


def _publish_trust(context: StageContext, predictions: list[dict]) -> None:
    """S_trust of each method over the replies judged so far, as metrics that the dashboard shows."""
    outcomes: dict[str, list[str]] = {}
    for row in predictions:
        outcomes.setdefault(row["method"], []).append(row["outcome"])
    measures = {f"s_trust.{method}": score_group(kinds).s_trust for method, kinds in outcomes.items()}
    known = {name: value for name, value in measures.items() if value is not None}
    write_progress(context.progress, len(predictions), len(predictions), "judged", measures=known)


def _models(context: StageContext) -> list[Model]:
    evaluation = context.config.evaluation
    methods = [
        checkpoint_model(
            name,
            context.checkpoint("original" if name in UNTRAINED_METHODS else name),
            refusal_instruction=name == "refusal_prompt",
        )
        for name in evaluation.methods
    ]
    return methods + [outside_model(name, model) for name, model in evaluation.models.items()]


def _is_wanted(context: StageContext, model: Model, row: dict) -> bool:
    pairs = context.config.evaluation.pairs
    return pairs is None or (model.name, row["benchmark"]) in pairs


def _read_confidences(context: StageContext) -> dict[str, float]:
    if "test_confidence" not in context.inputs:
        return {}
    answers = pq.read_table(context.inputs["test_confidence"] / "answers.parquet", columns=["id", "confidence"])
    return dict(zip(answers["id"].to_pylist(), answers["confidence"].to_pylist(), strict=True))


def _judge(model: Model, row: dict, reply: GreedyReply, context: StageContext) -> dict:
    """A PREDICTION row."""
    config = context.config
    question = Question.from_row(row)
    outcome = NO_REPLY
    if reply.finish == "refusal":  # the server says so itself, in words or without
        outcome = Outcome("refused", 0.0, False)
    elif not reply.reason:
        outcome = judge_reply(reply.text, question, config.sampling.correct_threshold, config.scoring)
    return {
        "id": question.id,
        "group": question_group(question),
        "benchmark": row["benchmark"],
        "domain": row["domain"],
        "classes": json.dumps(question_classes(question)),
        "method": model.name,
        "seed": config.seed,
        "checkpoint": model.checkpoint,
        "images": question.images,
        "question": question.question,
        "gold_answers": question.choices[question.gold_index : question.gold_index + 1]
        if question.answer_kind == "mc" and question.gold_index is not None
        else sorted(set(question.gold_answers)),
        # A corpus that does not say and has answers is one of answerable questions.
        "answerable": question.answerable is not False,
        "response": reply.detail if reply.reason else reply.text,
        "outcome": outcome.kind,
        "unparsed": outcome.unparsed,
        "score": outcome.score,
        # Of a refusal, or of no reply, it says nothing about being right.
        "confidence": reply.confidence if outcome.kind in ("correct", "wrong") else None,
    }
