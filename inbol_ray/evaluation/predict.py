"""Stage: the greedy reply of every (model, benchmark) pair to every question, judged -> PREDICTION rows.

Models are the run's own methods and models from outside (`sources`), or files of replies from elsewhere. What is asked
for is kept in `evaluation.replies`' store, where it stands as soon as it has come; judging takes seconds and is done
over from there.
"""

from collections.abc import Iterator

import pyarrow.parquet as pq

from inbol_ray.config.evaluation import UNTRAINED_METHODS
from inbol_ray.evaluation.file_predictions import FileJudgement, judge_file
from inbol_ray.evaluation.prediction_row import Rules, judge_row
from inbol_ray.evaluation.sources import Model, checkpoint_model, find_replies, outside_models
from inbol_ray.evaluation.usage import count_usage, total_usage, write_usage
from inbol_ray.method.scores import trust_scores
from inbol_ray.rows import PREDICTION, Question
from inbol_ray.runtime.progress import write_progress
from inbol_ray.scoring.outcome import prepare_verdicts
from inbol_ray.store.artifacts import StageContext
from inbol_ray.store.row_writer import write_rows


def predict(context: StageContext) -> dict[str, int]:
    """Writes `predictions.parquet`, and `usage.json` where an endpoint was asked. Reads `benchmarks`, a checkpoint a
    trained method and `test_confidence` (figure 4).

    A question that got no reply, or that a file has none to, stays in the table with the outcome `error`;
    rows of a file that cannot be used are rejected.
    """
    config = context.config
    rows = pq.read_table(context.inputs["benchmarks"] / "benchmarks.parquet").to_pylist()
    asked = [(model, row) for model in _asked_models(context) for row in rows if _is_wanted(context, model.name, row)]
    rules = Rules(config.sampling.correct_threshold, config.scoring)
    from_files = _judge_files(context, rows, rules)  # before anything is asked: a file may turn out to be useless
    replies = find_replies(asked, config, context.progress)
    confidences = _read_confidences(context)

    prepare_verdicts(
        (reply.text, Question.from_row(row))
        for (_, row), reply in zip(asked, replies, strict=True)
        if not reply.reason and reply.finish != "refusal"
    )

    def judged() -> Iterator[dict]:
        for (model, row), reply in zip(asked, replies, strict=True):
            yield judge_row(row, reply, method=model.name, checkpoint=model.checkpoint, seed=config.seed, rules=rules)
        for judgement in from_files:
            yield from judgement.predictions

    judged_rows = (row | {"base_confidence": confidences.get(row["id"])} for row in judged())
    predictions = sorted(judged_rows, key=lambda row: (row["method"], row["benchmark"], row["id"]))
    _publish_trust(context, predictions)
    num_predictions = write_rows(context.folder / "predictions.parquet", predictions, PREDICTION)
    num_from_files = sum(judgement.num_rows + judgement.num_without_reply for judgement in from_files)
    context.check_rows(len(asked) + num_from_files, num_predictions)
    usage = count_usage(asked, replies)
    write_usage(usage, context.folder)
    counts = {"predictions": num_predictions, "errors": sum(row["outcome"] == "error" for row in predictions)}
    if from_files:
        counts["without_reply"] = sum(judgement.num_without_reply for judgement in from_files)
    return counts | total_usage(usage)


def _judge_files(context: StageContext, rows: list[dict], rules: Rules) -> list[FileJudgement]:
    """Replies of the models that are files; of a file with a column `model`, those under the model's name."""
    config = context.config
    judgements = []
    for name, model in config.evaluation.models.items():
        if model.source == "replies":
            wanted = [row for row in rows if _is_wanted(context, name, row)]
            judgement = judge_file(
                model.replies, wanted, config.storage, rules, model=name, seed=config.seed, only_this_model=True
            )
            context.reject(judgement.rejected)
            judgements.append(judgement)
    return judgements


def _publish_trust(context: StageContext, predictions: list[dict]) -> None:
    """S_trust of each method over the replies judged so far, as metrics that the dashboard shows."""
    outcomes: dict[str, list[str]] = {}
    for row in predictions:
        outcomes.setdefault(row["method"], []).append(row["outcome"])
    measures = {f"s_trust.{method}": trust_scores(kinds).s_trust for method, kinds in outcomes.items()}
    known = {name: value for name, value in measures.items() if value is not None}
    write_progress(context.progress, len(predictions), len(predictions), "judged", measures=known)


def _asked_models(context: StageContext) -> list[Model]:
    evaluation = context.config.evaluation
    methods = [
        checkpoint_model(
            name,
            context.checkpoint("original" if name in UNTRAINED_METHODS else name),
            refusal_instruction=name == "refusal_prompt",
        )
        for name in evaluation.methods
    ]
    return methods + outside_models(evaluation.models)


def _is_wanted(context: StageContext, model: str, row: dict) -> bool:
    pairs = context.config.evaluation.pairs
    return pairs is None or (model, row["benchmark"]) in pairs


def _read_confidences(context: StageContext) -> dict[str, float]:
    if "test_confidence" not in context.inputs:
        return {}
    answers = pq.read_table(context.inputs["test_confidence"] / "answers.parquet", columns=["id", "confidence"])
    return dict(zip(answers["id"].to_pylist(), answers["confidence"].to_pylist(), strict=True))
