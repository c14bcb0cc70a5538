"""Stage: the greedy reply of every (model, benchmark) pair to every question, judged -> PREDICTION rows.

Models are the run's own methods, checkpoints from outside, and files of replies from elsewhere. What engines reply is kept
in `evaluation.replies`' store, where it stands as soon as it has come; judging takes seconds and is done over from there.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from inbol_ray.artifacts import StageContext
from inbol_ray.config.evaluation import UNTRAINED_METHODS
from inbol_ray.evaluation.file_predictions import FileJudgement, judge_file
from inbol_ray.evaluation.judge import Rules, judge_row
from inbol_ray.evaluation.replies import answer_requests, request_keys
from inbol_ray.evaluation.scores import score_group
from inbol_ray.progress import write_progress
from inbol_ray.prompts import question_prompt
from inbol_ray.row_writer import write_rows
from inbol_ray.rows import PREDICTION, Question
from inbol_ray.sampling.vllm_engine import Decoding


@dataclass(frozen=True)
class Model:
    """What answers: a checkpoint, with or without the refusal prompt."""

    name: str
    checkpoint: str
    refusal_instruction: bool


def predict(context: StageContext) -> dict[str, int]:
    """Writes `predictions.parquet`. Reads `benchmarks`, a checkpoint a trained method and `test_confidence` (figure 4).

    A question that an engine could not answer, or a file has no reply to, stays in the table with the outcome `error`;
    rows of a file that cannot be used are rejected.
    """
    config = context.config
    rows = pq.read_table(context.inputs["benchmarks"] / "benchmarks.parquet").to_pylist()
    asked = [(model, row) for model in _models(context) for row in rows if _is_wanted(context, model.name, row)]
    rules = Rules(config.sampling.correct_threshold, config.scoring)
    from_files = _judge_files(context, rows, rules)  # before engines start: a file may turn out to be useless
    decoding = Decoding(1, 0.0, config.evaluation.max_tokens)
    requests = _build_requests(asked, context)
    requests = requests.append_column("key", request_keys(requests, config, decoding))
    replies = answer_requests(requests, config, decoding, progress=context.progress)
    confidences = _read_confidences(context)

    def judged() -> Iterator[dict]:
        for (model, row), key in zip(asked, requests["key"].to_pylist(), strict=True):
            yield judge_row(
                row, replies[key], method=model.name, checkpoint=model.checkpoint, seed=config.seed, rules=rules
            )
        for judgement in from_files:
            yield from judgement.predictions

    judged_rows = (row | {"base_confidence": confidences.get(row["id"])} for row in judged())
    predictions = sorted(judged_rows, key=lambda row: (row["method"], row["benchmark"], row["id"]))
    _publish_trust(context, predictions)
    num_predictions = write_rows(context.folder / "predictions.parquet", predictions, PREDICTION)
    num_from_files = sum(judgement.num_rows + judgement.num_without_reply for judgement in from_files)
    context.check_rows(len(asked) + num_from_files, num_predictions)
    counts = {"predictions": num_predictions, "errors": sum(row["outcome"] == "error" for row in predictions)}
    if from_files:
        counts["without_reply"] = sum(judgement.num_without_reply for judgement in from_files)
    return counts


def _judge_files(context: StageContext, rows: list[dict], rules: Rules) -> list[FileJudgement]:
    """Replies of the models that are files; of a file with a column `model`, those under the model's name."""
    config = context.config
    judgements = []
    for name, model in config.evaluation.models.items():
        if model.replies is not None:
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
    measures = {f"s_trust.{method}": score_group(kinds).s_trust for method, kinds in outcomes.items()}
    known = {name: value for name, value in measures.items() if value is not None}
    write_progress(context.progress, len(predictions), len(predictions), "judged", measures=known)


def _models(context: StageContext) -> list[Model]:
    evaluation = context.config.evaluation
    methods = [
        Model(
            name,
            context.checkpoint("original" if name in UNTRAINED_METHODS else name),
            refusal_instruction=name == "refusal_prompt",
        )
        for name in evaluation.methods
    ]
    outside = [
        Model(name, _absolute(model.checkpoint), model.refusal_instruction)
        for name, model in evaluation.models.items()
        if model.checkpoint is not None
    ]
    return methods + outside


def _absolute(checkpoint: str) -> str:
    """Engines run in other folders than the driver; a hub name stays as it is."""
    return str(Path(checkpoint).resolve()) if Path(checkpoint).is_dir() else checkpoint


def _is_wanted(context: StageContext, model: str, row: dict) -> bool:
    pairs = context.config.evaluation.pairs
    return pairs is None or (model, row["benchmark"]) in pairs


def _build_requests(asked: list[tuple[Model, dict]], context: StageContext) -> pa.Table:
    prompts = context.config.prompts
    columns: dict[str, list] = {"id": [], "checkpoint": [], "prompt": [], "images": []}
    for model, row in asked:
        question = Question.from_row(row)
        columns["id"].append(row["id"])
        columns["checkpoint"].append(model.checkpoint)
        columns["prompt"].append(question_prompt(question, prompts, refusal_instruction=model.refusal_instruction))
        columns["images"].append(row["images"])
    kinds = {"id": pa.string(), "checkpoint": pa.string(), "prompt": pa.string(), "images": pa.list_(pa.string())}
    return pa.table(columns, schema=pa.schema(kinds.items()))


def _read_confidences(context: StageContext) -> dict[str, float]:
    if "test_confidence" not in context.inputs:
        return {}
    answers = pq.read_table(context.inputs["test_confidence"] / "answers.parquet", columns=["id", "confidence"])
    return dict(zip(answers["id"].to_pylist(), answers["confidence"].to_pylist(), strict=True))
