"""Stage: every method's greedy reply to every test question, judged -> PREDICTION rows.

One pool of engines answers for all methods: weights are swapped, engines are not restarted.
"""

import pyarrow as pa
import pyarrow.parquet as pq

from inbol_ray.artifacts import StageContext, write_rows
from inbol_ray.config.schema import UNTRAINED_METHODS
from inbol_ray.evaluation.metrics import score_group
from inbol_ray.progress import write_progress
from inbol_ray.prompts import chat_prompt, render_question
from inbol_ray.rows import PREDICTION, Question
from inbol_ray.sampling.generate import generate
from inbol_ray.sampling.vllm_engine import Decoding
from inbol_ray.scoring.outcome import Outcome, judge_reply

ERROR = Outcome("error", 0.0, False)


def _publish_trust(context: StageContext, predictions: list[dict]) -> None:
    """S_trust of each method over the replies judged so far, as metrics that the dashboard shows."""
    outcomes: dict[str, list[str]] = {}
    for row in predictions:
        outcomes.setdefault(row["method"], []).append(row["outcome"])
    measures = {f"s_trust.{method}": score_group(kinds).s_trust for method, kinds in outcomes.items()}
    known = {name: value for name, value in measures.items() if value is not None}
    write_progress(context.progress, len(predictions), len(predictions), "judged", measures=known)


def predict(context: StageContext) -> dict[str, int]:
    """Reads `questions`, `confidence` and a checkpoint a method; writes `predictions.parquet`.

    A question that an engine could not answer stays in the table with the outcome `error`.
    """
    config = context.config
    rows = pq.read_table(context.inputs["questions"] / "benchmarks.parquet").to_pylist()
    questions = {row["id"]: Question.from_row(row) for row in rows}
    answers = pq.read_table(context.inputs["confidence"] / "answers.parquet", columns=["id", "confidence"])
    confidences = dict(zip(answers["id"].to_pylist(), answers["confidence"].to_pylist(), strict=True))
    checkpoints = {
        method: context.checkpoint("original" if method in UNTRAINED_METHODS else method)
        for method in config.evaluation.methods
    }

    requests: dict[str, list] = {"id": [], "method": [], "checkpoint": [], "prompt": [], "images": []}
    # Methods on the same weights stand together, so that each engine loads each checkpoint about once.
    for method in sorted(config.evaluation.methods, key=lambda method: checkpoints[method]):
        for question in questions.values():
            user = render_question(question, config.prompts, refusal_instruction=method == "refusal_prompt")
            requests["id"].append(question.id)
            requests["method"].append(method)
            requests["checkpoint"].append(checkpoints[method])
            requests["prompt"].append(chat_prompt(user, num_images=len(question.images)))
            requests["images"].append(question.images)
    decoding = Decoding(1, 0.0, config.evaluation.max_tokens)
    replies = generate(
        pa.table(requests), config.engine, decoding, seed=config.seed, unit="replies", progress=context.progress
    ).to_pylist()

    benchmark_of = {row["id"]: (row["benchmark"], row["domain"]) for row in rows}
    predictions = []
    for row in replies:
        question = questions[row["id"]]
        response = row["responses"][0] if row["responses"] else ""
        outcome = ERROR if row["reason"] else judge_reply(response, question, config.sampling.correct_threshold)
        benchmark, domain = benchmark_of[row["id"]]
        predictions.append(
            {
                "id": row["id"],
                "benchmark": benchmark,
                "domain": domain,
                "method": row["method"],
                "seed": config.seed,
                "checkpoint": row["checkpoint"],
                "images": question.images,
                "question": question.question,
                "gold_answers": question.choices[question.gold_index : question.gold_index + 1]
                if question.answer_kind == "mc" and question.gold_index is not None
                else sorted(set(question.gold_answers)),
                # A corpus that does not say and has answers is one of answerable questions.
                "answerable": question.answerable is not False,
                "response": row["detail"] if row["reason"] else response,
                "outcome": outcome.kind,
                "unparsed": outcome.unparsed,
                "score": outcome.score,
                "base_confidence": confidences.get(row["id"]),
            }
        )
    predictions.sort(key=lambda row: (row["method"], row["id"]))
    _publish_trust(context, predictions)
    num_predictions = write_rows(context.folder / "predictions.parquet", predictions, PREDICTION)
    context.check_rows(len(requests["id"]), num_predictions)
    return {"predictions": num_predictions, "errors": sum(row["outcome"] == "error" for row in predictions)}
