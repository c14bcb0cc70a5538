"""Stage: the greedy reply of every (model, benchmark) pair to every question, judged -> PREDICTION rows.

Models are the run's own methods and checkpoints from outside. The replies are kept in `evaluation.replies`' store, where
they stand as soon as they have come; judging them takes seconds and is done over from there.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from inbol_ray.artifacts import StageContext
from inbol_ray.config.evaluation import UNTRAINED_METHODS
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

    A question that an engine could not answer stays in the table with the outcome `error`.
    """
    config = context.config
    rows = pq.read_table(context.inputs["benchmarks"] / "benchmarks.parquet").to_pylist()
    asked = [(model, row) for model in _models(context) for row in rows if _is_wanted(context, model, row)]
    decoding = Decoding(1, 0.0, config.evaluation.max_tokens)
    requests = _build_requests(asked, context)
    requests = requests.append_column("key", request_keys(requests, config, decoding))
    replies = answer_requests(requests, config, decoding, progress=context.progress)
    confidences = _read_confidences(context)
    rules = Rules(config.sampling.correct_threshold, config.scoring)

    def judged() -> Iterator[dict]:
        for (model, row), key in zip(asked, requests["key"].to_pylist(), strict=True):
            judged_row = judge_row(
                row,
                replies[key],
                method=model.name,
                checkpoint=model.checkpoint,
                seed=config.seed,
                rules=rules,
            )
            yield judged_row | {"base_confidence": confidences.get(row["id"])}

    predictions = sorted(judged(), key=lambda row: (row["method"], row["benchmark"], row["id"]))
    _publish_trust(context, predictions)
    num_predictions = write_rows(context.folder / "predictions.parquet", predictions, PREDICTION)
    context.check_rows(len(asked), num_predictions)
    return {"predictions": num_predictions, "errors": sum(row["outcome"] == "error" for row in predictions)}


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
        Model(name, _absolute(model.checkpoint), model.refusal_instruction) for name, model in evaluation.models.items()
    ]
    return methods + outside


def _absolute(checkpoint: str) -> str:
    """Engines run in other folders than the driver; a hub name stays as it is."""
    return str(Path(checkpoint).resolve()) if Path(checkpoint).is_dir() else checkpoint


def _is_wanted(context: StageContext, model: Model, row: dict) -> bool:
    pairs = context.config.evaluation.pairs
    return pairs is None or (model.name, row["benchmark"]) in pairs


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
