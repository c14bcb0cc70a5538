"""95% intervals, in the unit of their input; NumPy and the standard library only."""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

CONFIDENCE_LEVEL = 0.95
Z = NormalDist().inv_cdf(0.5 + CONFIDENCE_LEVEL / 2)
Interval = tuple[float, float]
NUM_RESAMPLES = 10_000
_SEED = 20_241_211


def wilson_interval(num_successes: int, num_trials: int) -> Interval | None:
    """Wilson score interval of a proportion, within [0, 1]; None without trials.

    Source: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209. Unlike the normal interval it keeps its coverage at
    0 and 1, where the bootstrap gives a point.
    """
    if num_trials == 0:
        return None
    rate = num_successes / num_trials
    shrink = 1 + Z * Z / num_trials
    centre = (rate + Z * Z / (2 * num_trials)) / shrink
    half = Z / shrink * math.sqrt(rate * (1 - rate) / num_trials + Z * Z / (4 * num_trials**2))
    # min and max: at rates 0 and 1 rounding may leave the rate itself just outside.
    return max(0.0, min(centre - half, rate)), min(1.0, max(centre + half, rate))


def resample_counts(counts: Sequence[int] | np.ndarray) -> np.ndarray:
    """How often each kind of item comes in bootstrap resamples of sum(counts) items, (NUM_RESAMPLES, kinds) int.

    Drawing items with replacement is drawing kinds from a multinomial. The same counts give the same resamples.
    """
    counts = np.asarray(counts)
    total = int(counts.sum())
    if total == 0:
        return np.zeros((NUM_RESAMPLES, len(counts)), dtype=np.int64)
    return np.random.default_rng(_SEED).multinomial(total, counts / total, size=NUM_RESAMPLES)


def resample_totals(kinds_KC: np.ndarray, counts_K: np.ndarray, stream: int) -> np.ndarray:
    """Sums of the columns of bootstrap resamples, (NUM_RESAMPLES, C): `counts_K` items are of each kind, with the
    values `kinds_KC`. Samples that are drawn apart, such as two benchmarks, each need a `stream` of their own, from
    1."""
    total = int(counts_K.sum())
    rng = np.random.default_rng([_SEED, stream])
    return np.concatenate(
        [rng.multinomial(total, counts_K / total, size=size) @ kinds_KC for size in _chunks(len(counts_K))]
    )


def swap_totals(kinds_KC: np.ndarray, swapped_KC: np.ndarray, counts_K: np.ndarray, stream: int) -> np.ndarray:
    """`resample_totals` of a randomisation instead: each item keeps its values or takes `swapped_KC`, by a fair
    coin."""
    rng = np.random.default_rng([_SEED, stream])
    draws = (rng.binomial(counts_K, 0.5, size=(size, len(counts_K))) for size in _chunks(len(counts_K)))
    return np.concatenate([counts_K @ kinds_KC + swapped @ (swapped_KC - kinds_KC) for swapped in draws])


def _chunks(num_kinds: int) -> list[int]:
    """Sizes of parts of NUM_RESAMPLES draws that take some 30 MB each."""
    size = max(1, 4_000_000 // num_kinds)
    return [min(size, NUM_RESAMPLES - start) for start in range(0, NUM_RESAMPLES, size)]


def bootstrap_interval(values: np.ndarray) -> Interval:
    """Percentile interval of a statistic from its value on every resample.

    Source: B. Efron, Canadian Journal of Statistics 9 (1981) 139.
    """
    tail = 50 * (1 - CONFIDENCE_LEVEL)
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)


def t_cdf(t: float, df: int) -> float:
    """Distribution function of Student's t with `df` >= 1 degrees of freedom.

    Source: Abramowitz and Stegun, 26.7.3 and 26.7.4: finite sums for whole df, so exact up to rounding.
    """
    if df < 1:
        raise ValueError(f"df is {df}; Student's t needs at least 1 degree of freedom")
    theta = math.atan2(t, math.sqrt(df))
    cos_squared = math.cos(theta) ** 2
    odd = df % 2
    term = math.sin(theta) * (math.cos(theta) if odd else 1.0)
    total = term if df > 1 else 0.0
    for k in range(2 + odd, df - 1, 2):
        term *= (k - 1) / k * cos_squared
        total += term
    within = 2 / math.pi * (theta + total) if odd else total
    return 0.5 + within / 2


def t_quantile(df: int) -> float:
    """Two-sided 95% quantile of Student's t, by bisection of `t_cdf`."""
    low, high = 0.0, 20.0  # df = 1 has 12.7
    for _ in range(60):
        middle = (low + high) / 2
        if t_cdf(middle, df) < 0.5 + CONFIDENCE_LEVEL / 2:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def t_interval(values: Sequence[float]) -> Interval | None:
    """Student-t interval of the mean of independent values; None for fewer than two of them."""
    if len(values) < 2:
        return None
    mean = math.fsum(values) / len(values)
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    half = t_quantile(len(values) - 1) * math.sqrt(variance / len(values))
    return mean - half, mean + half
