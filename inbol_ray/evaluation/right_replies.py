"""How many replies are what a benchmark of refusal wants: outcomes and answerability -> rates in percent.

A reply is right if it answers correctly or refuses a question that cannot be answered; an unanswerable question counts
as answered correctly only where its benchmark says so (MM-UPD's masked answers). Where nothing is unanswerable the rate
is Acc, where nothing is answerable RefR. Questions that form a pair count only together: a pair is right if every one
of its questions is. All is over replies after rotations were merged.

Source: MM-UPD's dual accuracy (AtsuMiyai/UPD, calculate_scores.py, dual_results), HumbleBench's and TUBench's accuracy.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from inbol_ray.method.scores import trust_scores_of_codes
from inbol_ray.rows import OUTCOMES

_CORRECT, _WRONG, _REFUSED = (OUTCOMES.index(kind) for kind in ("correct", "wrong", "refused"))


def is_right(codes: np.ndarray, answerable: np.ndarray) -> np.ndarray:
    """Flags of right replies, (n,) bool, from indices into OUTCOMES and flags of answerable questions, (n,) each."""
    return (codes == _CORRECT) | ((codes == _REFUSED) & ~answerable)


def right_rate(right: np.ndarray) -> dict:
    """`right_rate` and its 95% interval of flags, (n,) bool; both None over nothing."""
    codes = np.where(right, _CORRECT, _WRONG).astype(np.int8)
    scores = trust_scores_of_codes(codes, np.zeros(codes.shape, dtype=bool))
    interval = scores.acc_interval
    return {"right_rate": scores.acc, "right_rate_interval": None if interval is None else list(interval)}


def score_pairs(pairs: Sequence[str | None], right: np.ndarray, classes: Sequence[Mapping[str, str]]) -> dict | None:
    """`num_pairs` and the rate of pairs of which every question is right, whole and by class; None without pairs.

    `pairs` (n,) names each question's pair, `right` (n,) says whether its reply is, `classes` (n,) has what results are
    broken down by; a pair has its first question's. A question whose twin is missing, rejected for example, is left
    out, as the official join does.
    """
    members: dict[str, list[int]] = {}
    for number, pair in enumerate(pairs):
        if pair is not None:
            members.setdefault(pair, []).append(number)
    if not members:
        return None
    whole = [numbers for numbers in members.values() if len(numbers) > 1]
    by_class: dict[str, dict[str, list[bool]]] = {}
    flags = [bool(right[numbers].all()) for numbers in whole]
    for numbers, flag in zip(whole, flags, strict=True):
        for name, value in classes[numbers[0]].items():
            by_class.setdefault(name, {}).setdefault(value, []).append(flag)
    return _rate_pairs(flags) | {
        "classes": {
            name: {value: _rate_pairs(values[value]) for value in sorted(values)}
            for name, values in sorted(by_class.items())
        }
    }


def _rate_pairs(flags: Sequence[bool]) -> dict:
    return {"num_pairs": len(flags)} | right_rate(np.array(flags, dtype=bool))
