"""Acc, RefR, S_trust and accuracy when answered of a group of replies, in percent, with 95% bootstrap intervals.

outcomes (n,) of `rows.OUTCOMES` -> Metrics

Source: InBoL (arXiv 2412.11196) Sec. 4. User-centric value of a reply: v = +1 correct, 0 refused, -1 wrong, so
S_trust = mean v = 2 Acc + RefR - 1. A refusal is never correct, and a reply that cannot be parsed is wrong.
Ours: an `error` (no reply, or an empty one) is counted apart as `num_errors` and stays in every denominator with v = -1.
A model that falls silent on hard questions must not gain by it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from inbol_ray.errors import DataError
from inbol_ray.method.intervals import (
    NUM_RESAMPLES,
    Interval,
    bootstrap_interval,
    resample_counts,
    wilson_interval,
)
from inbol_ray.rows import OUTCOMES

VALUE = np.array([1, -1, 0, -1], dtype=np.int8)
"""v, by index into OUTCOMES."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """Scores of one group of replies, in percent; a rate over nothing is None, and so is its interval.

    `answered_acc` is over the replies that are neither refusals nor errors. Intervals are 95%, by the percentile
    bootstrap over questions; a rate of 0 or 100%, which resampling cannot leave, has Wilson's instead.
    """

    num_questions: int
    num_errors: int
    acc: float | None
    acc_interval: Interval | None
    refr: float | None
    refr_interval: Interval | None
    s_trust: float | None
    s_trust_interval: Interval | None
    answered_acc: float | None
    answered_acc_interval: Interval | None
    unparsed_rate: float | None
    unparsed_rate_interval: Interval | None

    def to_dict(self) -> dict:
        """Plain JSON types: intervals become two-element lists."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def trust_scores(outcomes: Sequence[str] | np.ndarray, unparsed: Sequence[bool] | np.ndarray | None = None) -> Metrics:
    """Acc, RefR and S_trust of replies: `outcomes` (n,) of `rows.OUTCOMES`, `unparsed` (n,) flags of wrong replies without an answer.

    Raises: DataError for an outcome that does not exist.
    """
    codes = outcome_codes(np.asarray(outcomes, dtype=object))
    flags = np.zeros(codes.shape, dtype=bool) if unparsed is None else np.asarray(unparsed, dtype=bool)
    return trust_scores_of_codes(codes, flags)


def outcome_codes(outcomes: np.ndarray) -> np.ndarray:
    """Index of each outcome in OUTCOMES, (n,) int8."""
    codes = np.full(outcomes.shape, -1, dtype=np.int8)
    for code, outcome in enumerate(OUTCOMES):
        codes[outcomes == outcome] = code
    if (codes < 0).any():
        raise DataError(f"unknown outcome {outcomes[codes < 0][0]!r}; expected one of {list(OUTCOMES)}")
    return codes


def trust_scores_of_codes(codes: np.ndarray, unparsed: np.ndarray) -> Metrics:
    """`trust_scores` for indices into OUTCOMES, (n,) int8, and flags, (n,) bool."""
    num_correct, num_wrong, num_refused, num_errors = (int(n) for n in np.bincount(codes, minlength=len(OUTCOMES)))
    num_unparsed = int(unparsed[codes == OUTCOMES.index("wrong")].sum())
    num_questions = len(codes)
    # Resampling questions is drawing how often each kind comes.
    drawn = resample_counts([num_correct, num_wrong - num_unparsed, num_unparsed, num_refused, num_errors])
    correct, parsed_wrong, unparsed_wrong, refused, _ = drawn.T
    total = np.full(NUM_RESAMPLES, num_questions)
    acc, refr = _rate(num_correct, num_questions, correct, total), _rate(num_refused, num_questions, refused, total)
    return Metrics(
        num_questions,
        num_errors,
        *acc,
        *refr,
        *_trust(acc[0], refr[0], [num_correct, num_wrong + num_errors, num_refused], correct, refused),
        *_rate(num_correct, num_correct + num_wrong, correct, correct + parsed_wrong + unparsed_wrong),
        *_rate(num_unparsed, num_questions, unparsed_wrong, total),
    )


def _rate(count: int, total: int, drawn: np.ndarray, totals: np.ndarray) -> tuple[float | None, Interval | None]:
    """count / total in percent, and its interval from resampled counts and totals, (NUM_RESAMPLES,) each."""
    if total == 0:
        return None, None
    if count in (0, total):
        interval = wilson_interval(count, total)
        assert interval is not None  # `total` is positive
        return 100.0 * count / total, (100 * interval[0], 100 * interval[1])
    there = totals > 0
    return 100.0 * count / total, bootstrap_interval(100.0 * drawn[there] / totals[there])


def _trust(
    acc: float | None, refr: float | None, counts: list[int], correct: np.ndarray, refused: np.ndarray
) -> tuple[float | None, Interval | None]:
    """S_trust in percent; `counts` of correct, wrong or error, and refused."""
    total = sum(counts)
    if acc is None or refr is None:
        return None, None
    value = 2 * acc + refr - 100
    if max(counts) < total:
        return value, bootstrap_interval(100.0 * (2 * correct + refused) / total - 100)
    # One kind alone: resampling cannot leave it. As far as Wilson lets its rate fall, v falls, or rises.
    certain = wilson_interval(total, total)
    assert certain is not None  # `total` is positive
    spread = 100 * (1 - certain[0])
    low, high = [(value - 2 * spread, value), (value, value + 2 * spread), (-spread, spread)][counts.index(total)]
    return value, (max(low, -100.0), min(high, 100.0))


def difference_interval(differences: np.ndarray) -> tuple[float | None, Interval | None]:
    """Mean of paired differences, (n,) small integers, in percent, and its bootstrap interval over the pairs."""
    if not len(differences):
        return None, None
    values, counts = np.unique(differences, return_counts=True)
    means = 100.0 * (resample_counts(counts) @ values) / len(differences)
    return float(100.0 * differences.mean()), bootstrap_interval(means)
