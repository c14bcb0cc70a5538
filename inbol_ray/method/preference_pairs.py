"""SampledAnswers -> PreferenceSet: (correct, incorrect, refusal); and the weight of each pair of them."""

import pyarrow as pa

from inbol_ray.config.model import PromptConfig
from inbol_ray.method.prompts import DEFAULT_PROMPTS, answer_text, draw_index, pick_refusal, render_question
from inbol_ray.rows import PAIRS, Knowledge, Question

MIXED_WEIGHTS = {
    "confidence": lambda confidence: (confidence, 1 - confidence),
    "refusal_incorrect": lambda confidence: (0.0, 1.0),
    "correct_incorrect": lambda confidence: (1.0, 0.0),
    "unweighted": lambda confidence: (0.5, 0.5),
}
"""Weights of (correct > incorrect, refusal > incorrect) of a Mixed sample: CA-DPO, and the paper's ablations 1 to 3."""


def pair_weights(knowledge: Knowledge, confidence: float, mixed_pairs: str = "confidence") -> dict[str, float]:
    """Weights of (correct > refusal, correct > incorrect, refusal > incorrect).

    Known (1, 0, 0), Mixed (0, conf, 1 - conf), Unknown (0, 0, 1). Source: InBoL (arXiv 2412.11196) section 3, CA-DPO.
    """
    correct_refusal = correct_incorrect = refusal_incorrect = 0.0
    if knowledge == "known":
        correct_refusal = 1.0
    elif knowledge == "unknown":
        refusal_incorrect = 1.0
    else:
        correct_incorrect, refusal_incorrect = MIXED_WEIGHTS[mixed_pairs](confidence)
    return {
        "weight_correct_refusal": correct_refusal,
        "weight_correct_incorrect": correct_incorrect,
        "weight_refusal_incorrect": refusal_incorrect,
    }


def add_pair_weights(preferences: pa.Table, mixed_pairs: str = "confidence") -> pa.Table:
    """PREFERENCE_SET rows with the columns of `pair_weights`, float32; the one place where weights are computed."""
    weights = [
        pair_weights(knowledge, confidence, mixed_pairs)
        for knowledge, confidence in zip(
            *(preferences[name].to_pylist() for name in ("knowledge", "confidence")), strict=True
        )
    ]
    for preferred, rejected in PAIRS:
        column = f"weight_{preferred}_{rejected}"
        preferences = preferences.append_column(column, pa.array([row[column] for row in weights], pa.float32()))
    return preferences


def build_preference_set(
    question: Question,
    knowledge: Knowledge,
    confidence: float,
    responses: list[str],
    outcomes: list[str],
    prompts: PromptConfig = DEFAULT_PROMPTS,
    seed: int = 0,
) -> dict | None:
    """A PREFERENCE_SET row, or None when a needed response does not exist (no wrong answer was ever sampled).

    The correct response is the corpus's answer in the form that the prompt asks for; the incorrect one is drawn from
    the model's own wrong answers.
    """
    wrong = sorted(text for text, outcome in zip(responses, outcomes, strict=True) if outcome == "wrong" and text)
    correct = answer_text(question) if knowledge != "unknown" else None
    incorrect = wrong[draw_index(question.id, len(wrong), seed=seed)] if wrong and knowledge != "known" else None
    if (knowledge != "unknown" and correct is None) or (knowledge != "known" and incorrect is None):
        return None
    return {
        "id": question.id,
        "images": question.images,
        "user": render_question(question, prompts),
        "correct": correct,
        "incorrect": incorrect,
        "refusal": pick_refusal(question.id, seed=seed),
        "knowledge": knowledge,
        "confidence": confidence,
    }
