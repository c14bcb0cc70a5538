"""The quality filter of unanswerable questions (paper figure 2): a judge's first token -> whether a candidate stays."""

import math

from inbol_ray.method.prompts import JUDGE_NO, JUDGE_YES


def answerable_probability(first_token: dict[str, float]) -> float | None:
    """P(yes) / (P(yes) + P(no)) from the log-probabilities of a reply's first token; None if neither is likely."""
    mass = {JUDGE_YES: 0.0, JUDGE_NO: 0.0}
    for token, logprob in first_token.items():
        word = token.strip().lower()
        if word in mass:
            mass[word] += math.exp(logprob)
    total = sum(mass.values())
    return mass[JUDGE_YES] / total if total > 0 else None


def is_unanswerable(answerable_probability: float | None, threshold: float) -> bool:
    """The quality filter: keep a candidate unless the judge may think that the image answers it."""
    return answerable_probability is not None and answerable_probability < threshold
