"""Estimates of what a model knows from its samples alone, beside the paper's accuracy-based confidence.

All are in [0, 1] and higher where the model is likelier to be right; evaluation compares them by the AUROC of
predicting whether a fresh greedy reply is correct.
"""

import math
from collections import Counter
from collections.abc import Sequence

from inbol_ray.rows import Question
from inbol_ray.scoring.choice_parsers import parse_choice
from inbol_ray.scoring.final_text import final_text
from inbol_ray.scoring.vqa_accuracy import normalise_vqa

ANSWERED = ("correct", "wrong")


def self_consistency(question: Question, responses: Sequence[str], outcomes: Sequence[str]) -> float:
    """Share of the samples that give the most frequent answer; a refusal or an empty reply is none.

    Two replies are one answer when, thinking aside, they choose the same option or, elsewhere, are equal after VQA
    normalisation. Source: majority share of self-consistency (arXiv 2203.11171) Sec. 2; equality and the place of
    refusals ours.
    """
    answers = Counter(
        _meaning(question, response)
        for response, outcome in zip(responses, outcomes, strict=True)
        if outcome in ANSWERED
    )
    return max(answers.values(), default=0) / len(responses)


def likelihood(token_logprobs: Sequence[Sequence[float]], outcomes: Sequence[str]) -> float:
    """Mean over the samples of their length-normalised probability, exp(mean token log-probability).

    A refusal or an empty reply counts as 0: it says nothing about an answer. Log-probabilities are the model's own, before temperature.
    """
    values = (
        0.0 if outcome not in ANSWERED or not sample else math.exp(sum(sample) / len(sample))
        for sample, outcome in zip(token_logprobs, outcomes, strict=True)
    )
    return sum(values) / len(outcomes)


def _meaning(question: Question, response: str) -> object:
    response = final_text(response)
    if question.answer_kind == "mc" and (choice := parse_choice(response, question.choices)) is not None:
        return choice
    return normalise_vqa(response)
