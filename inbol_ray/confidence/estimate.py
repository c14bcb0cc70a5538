"""Question -> SampledAnswers: N responses from the original model, each judged by the corpus's own rule.

confidence = correct / N (paper section 2, accuracy-based confidence)
"""

import pyarrow as pa
import pyarrow.parquet as pq

from inbol_ray.artifacts import StageContext, write_rows
from inbol_ray.prompts import chat_prompt, render_question
from inbol_ray.rows import SAMPLED_ANSWERS, Question, Rejected
from inbol_ray.sampling.generate import generate
from inbol_ray.sampling.vllm_engine import Decoding
from inbol_ray.scoring.outcome import judge_reply


def estimate_confidence(context: StageContext) -> dict[str, int]:
    """Stage: sample every training question, every unanswerable question and, for figure 4, every test question.

    Reads `questions`, `unanswerable` and `checkpoint`; writes `answers.parquet` (SAMPLED_ANSWERS).
    """
    config = context.config
    checkpoint = context.checkpoint("checkpoint")
    tables = [
        pq.read_table(context.inputs["questions"] / "train.parquet"),
        pq.read_table(context.inputs["unanswerable"] / "questions.parquet"),
    ]
    if config.evaluation.sample_confidence:
        tables.append(pq.read_table(context.inputs["questions"] / "benchmarks.parquet").drop(["benchmark", "domain"]))
    rows = pa.concat_tables(tables).to_pylist()
    questions = {row["id"]: Question.from_row(row) for row in rows}
    requests = pa.table(
        {
            "id": list(questions),
            "checkpoint": [checkpoint] * len(questions),
            "prompt": [
                chat_prompt(render_question(question, config.prompts), num_images=len(question.images))
                for question in questions.values()
            ],
            "images": [question.images for question in questions.values()],
        }
    )
    decoding = Decoding(config.sampling.num_samples, config.sampling.temperature, config.sampling.max_tokens)
    parts = generate(
        requests,
        config,
        decoding,
        folder=str(context.resume / "samples"),
        unit="questions",
        progress=context.progress,
    )
    answers = []
    for row in parts.rows():
        if row["reason"]:
            context.reject([Rejected(row["id"], "confidence", row["reason"], row["detail"])])
            continue
        answers.append(judge_samples(questions[row["id"]], row["responses"], checkpoint, config.sampling))
    answers.sort(key=lambda row: row["id"])
    num_answers = write_rows(context.folder / "answers.parquet", answers, SAMPLED_ANSWERS)
    context.check_rows(len(rows), num_answers)
    return {"questions": num_answers, "samples": sum(len(row["responses"]) for row in answers)}


def judge_samples(question: Question, responses: list[str], checkpoint: str, sampling) -> dict:
    """A SAMPLED_ANSWERS row."""
    outcomes = [judge_reply(response, question, sampling.correct_threshold) for response in responses]
    num_correct = sum(outcome.kind == "correct" for outcome in outcomes)
    return question.to_row() | {
        "responses": responses,
        "outcomes": [outcome.kind for outcome in outcomes],
        "scores": [outcome.score for outcome in outcomes],
        "confidence": num_correct / len(outcomes),
        "checkpoint": checkpoint,
    }
