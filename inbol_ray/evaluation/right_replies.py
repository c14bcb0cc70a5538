"""How many replies are what a benchmark of refusal wants: outcomes and answerability -> rates in percent.

A reply is right if it answers correctly or refuses a question that cannot be answered; an unanswerable question counts
as answered correctly only where its benchmark says so (MM-UPD's masked answers). Where nothing is unanswerable the rate
is Acc, where nothing is answerable RefR. Questions that form a pair count only together: a pair is right if every one of
its questions is. All is over replies after rotations were merged.

Source: MM-UPD's dual accuracy (AtsuMiyai/UPD, calculate_scores.py, dual_results), HumbleBench's and TUBench's accuracy.
"""

import numpy as np
import pyarrow as pa

from inbol_ray.evaluation.scores import score_codes
from inbol_ray.rows import OUTCOMES

_CORRECT, _WRONG, _REFUSED = (OUTCOMES.index(kind) for kind in ("correct", "wrong", "refused"))


def is_right(codes: np.ndarray, answerable: np.ndarray) -> np.ndarray:
    """Flags of right replies, (n,) bool, from indices into OUTCOMES and flags of answerable questions, (n,) each."""
    return (codes == _CORRECT) | ((codes == _REFUSED) & ~answerable)


def right_rate(right: np.ndarray) -> dict:
    """`right_rate` and its 95% interval of flags, (n,) bool; both None over nothing."""
    codes = np.where(right, _CORRECT, _WRONG).astype(np.int8)
    scores = score_codes(codes, np.zeros(codes.shape, dtype=bool))
    interval = scores.acc_interval
    return {"right_rate": scores.acc, "right_rate_interval": None if interval is None else list(interval)}


def score_pairs(pairs: pa.ChunkedArray, right: np.ndarray) -> dict | None:
    """`num_pairs` and the rate of pairs of which every question is right; None where no question belongs to one.

    `pairs` (n,) names each question's pair, `right` (n,) says whether its reply is. A question whose twin is missing,
    rejected for example, is left out, as the official join does.
    """
    members: dict[str, list[bool]] = {}
    for pair, one in zip(pairs.to_pylist(), right, strict=True):
        if pair is not None:
            members.setdefault(pair, []).append(bool(one))
    if not members:
        return None
    whole = np.array([all(flags) for flags in members.values() if len(flags) > 1], dtype=bool)
    return {"num_pairs": len(whole)} | right_rate(whole)
