"""Two methods on the same questions -> paired differences, corrected for how many are looked at together.

outcomes of both sides and clusters, by benchmark -> Difference for each benchmark, and in all, and metric; points

- Questions of one cluster (they share an image) are drawn, and swapped, together: they are not independent.
- Interval: difference +- c * SE. SE comes from the cluster bootstrap, each benchmark resampled by itself; c is the 95%
  quantile of the largest |deviation| / SE over all comparisons, so that all intervals hold at once (single-step max-T:
  Romano and Wolf, Econometrica 73 (2005) 1237). It takes the correlation of metrics into account; Bonferroni would not.
- p-value: randomisation test, which swaps the two sides of whole clusters; exact up to the number of draws, counted as
  in Phipson and Smyth, Stat. Appl. Genet. Mol. Biol. 9 (2010) 39, so never 0. Corrected by Holm, Scand. J. Stat. 6
  (1979) 65.
- Smallest difference that could have been shown: (c + z_0.8) * SE, two-sided at the corrected level with 80% power.
- Where resampling cannot move a difference (SE = 0: all clusters alike) Wilson's bound says how large the share of
  other clusters may be, at the level 5% / comparisons, and these may differ as much as a score can.

The papers named above, on max-T, randomisation and Holm's correction, are cited from memory: they were not at hand when
this was written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from inbol_ray.evaluation.metrics import SCORES
from inbol_ray.method.intervals import CONFIDENCE_LEVEL, NUM_RESAMPLES, Interval, resample_totals, swap_totals
from inbol_ray.rows import OUTCOMES

POWER = 0.8
_LARGEST = {"acc": 100.0, "refr": 100.0, "s_trust": 200.0, "answered_acc": 100.0}
_SWAPPED = [0, 4, 5, 6, 1, 2, 3]
"""A row of sums holds the number of questions, then correct, refused and answered of a, then these of b."""


@dataclass(frozen=True, slots=True)
class Difference:
    """`metric` of side a minus side b on `benchmark` (None: all together), in points; `a` and `b` in percent.

    None stands for what is not defined: an accuracy without answers, an interval of one cluster.
    """

    benchmark: str | None
    metric: str
    num_questions: int
    num_clusters: int
    a: float | None
    b: float | None
    difference: float | None
    interval: Interval | None
    p_value: float | None
    p_holm: float | None
    smallest_detectable: float | None


@dataclass(frozen=True, slots=True)
class PairedOutcomes:
    """One benchmark: indices into OUTCOMES of both sides, (n,), and a number for each question's cluster, (n,)."""

    a_N: np.ndarray
    b_N: np.ndarray
    cluster_N: np.ndarray


def compare_paired(benchmarks: Mapping[str, PairedOutcomes]) -> tuple[list[Difference], float | None]:
    """Differences by benchmark, then in all where there are several; and the critical value c, None without
    intervals."""
    parts = {name: _Part(_cluster_sums(pairs), stream) for stream, (name, pairs) in enumerate(benchmarks.items(), 1)}
    cells: list[tuple[str | None, _Part]] = list(parts.items())
    if len(parts) > 1:
        cells.append((None, _Part.together(list(parts.values()))))
    observed = np.array([_differences(part.total) for _, part in cells])
    error = np.array([_standard_error(part.resampled) for _, part in cells])
    usable = np.isfinite(observed) & np.array([[part.num_clusters > 1] * len(SCORES) for _, part in cells])
    moved = usable & (error > 1e-9)
    largest = np.zeros(NUM_RESAMPLES)
    for row, (_, part) in enumerate(cells):
        columns = moved[row]
        if columns.any():
            deviation = (_differences(part.resampled)[:, columns] - observed[row, columns]) / error[row, columns]
            largest = np.fmax(largest, np.nanmax(np.abs(deviation), axis=1))
    critical = float(np.quantile(largest, CONFIDENCE_LEVEL)) if moved.any() else None
    p_values = np.array([_p_values(part.swapped, observed[row]) for row, (_, part) in enumerate(cells)])
    p_values[~np.isfinite(observed)] = np.nan
    adjusted = holm(p_values)
    num_comparisons = int(np.isfinite(observed).sum())
    found = []
    for row, (name, part) in enumerate(cells):
        a, b = _scores(part.total[:4]), _scores(part.total[[0, 4, 5, 6]])
        for column, metric in enumerate(SCORES):
            difference, interval, detectable = float(observed[row, column]), None, None
            if moved[row, column]:
                half = critical * error[row, column]
                interval = difference - half, difference + half
                detectable = float((critical + NormalDist().inv_cdf(POWER)) * error[row, column])
            elif usable[row, column]:
                interval = _alike_interval(difference, _LARGEST[metric], part.num_clusters, num_comparisons)
            if interval:
                interval = max(interval[0], -_LARGEST[metric]), min(interval[1], _LARGEST[metric])
            found.append(
                Difference(
                    name,
                    metric,
                    int(part.total[0]),
                    part.num_clusters,
                    _number(a[column]),
                    _number(b[column]),
                    _number(difference),
                    interval,
                    _number(p_values[row, column]),
                    _number(adjusted[row, column]),
                    detectable,
                )
            )
    return found, critical


def holm(p_values: np.ndarray) -> np.ndarray:
    """p-values, of any shape, corrected for their number by Holm's step-down method; NaN is no comparison and stays.

    Source: S. Holm, Scand. J. Stat. 6 (1979) 65.
    """
    adjusted = np.full(p_values.shape, np.nan)
    places = np.flatnonzero(np.isfinite(p_values))
    order = places[np.argsort(p_values.flat[places], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted.flat[order] = np.minimum(1.0, np.maximum.accumulate(p_values.flat[order] * factors))
    return adjusted


class _Part:
    """Sums of one benchmark's clusters, as they are, resampled and swapped: (7,), (NUM_RESAMPLES, 7) twice."""

    def __init__(self, sums_GC: np.ndarray, stream: int) -> None:
        kinds_KC, counts_K = np.unique(sums_GC, axis=0, return_counts=True)
        self.num_clusters = len(sums_GC)
        self.total = sums_GC.sum(axis=0)
        self.resampled = resample_totals(kinds_KC, counts_K, 2 * stream)
        self.swapped = swap_totals(kinds_KC, kinds_KC[:, _SWAPPED], counts_K, 2 * stream + 1)

    @classmethod
    def together(cls, parts: Sequence["_Part"]) -> "_Part":
        whole = cls.__new__(cls)
        whole.num_clusters = sum(part.num_clusters for part in parts)
        whole.total = sum(part.total for part in parts)
        whole.resampled = sum(part.resampled for part in parts)
        whole.swapped = sum(part.swapped for part in parts)
        return whole


def _cluster_sums(pairs: PairedOutcomes) -> np.ndarray:
    """(clusters, 7) integers: questions; correct, refused, answered of a; the same of b."""
    columns = [np.ones(len(pairs.a_N))]
    for codes in (pairs.a_N, pairs.b_N):
        correct, wrong, refused = (codes == OUTCOMES.index(name) for name in ("correct", "wrong", "refused"))
        columns += [correct, refused, correct | wrong]
    _, place_N = np.unique(pairs.cluster_N, return_inverse=True)
    return np.stack([np.bincount(place_N, weights=column) for column in columns], axis=1).astype(np.int64)


def _scores(side: np.ndarray) -> np.ndarray:
    """Acc, RefR, S_trust and answered accuracy in percent, (..., 4), of questions, correct, refused, answered (...,
    4)."""
    questions, correct, refused, answered = np.moveaxis(side.astype(float), -1, 0)
    acc, refr = 100 * correct / questions, 100 * refused / questions
    answered_acc = np.divide(100 * correct, answered, out=np.full_like(correct, np.nan), where=answered > 0)
    return np.stack([acc, refr, 2 * acc + refr - 100, answered_acc], axis=-1)


def _differences(totals: np.ndarray) -> np.ndarray:
    """a minus b, (..., 4), of totals (..., 7)."""
    return _scores(totals[..., :4]) - _scores(totals[..., [0, 4, 5, 6]])


def _standard_error(resampled: np.ndarray) -> np.ndarray:
    """Of each metric, (4,); a resample without answers says nothing of the accuracy when answered."""
    values = _differences(resampled)
    present = np.isfinite(values)
    mean = np.where(present, values, 0).sum(axis=0) / np.maximum(present.sum(axis=0), 1)
    squares = np.where(present, (values - mean) ** 2, 0).sum(axis=0)
    return np.sqrt(squares / np.maximum(present.sum(axis=0) - 1, 1))


def _p_values(swapped: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Two-sided, (4,). A randomisation in which a side answers nothing counts as extreme, which is the cautious way."""
    values = np.abs(_differences(swapped))
    extreme = ~(values < np.abs(observed) - 1e-9)
    return (1 + extreme.sum(axis=0)) / (1 + NUM_RESAMPLES)


def _alike_interval(difference: float, largest: float, num_clusters: int, num_comparisons: int) -> Interval:
    z = NormalDist().inv_cdf(1 - (1 - CONFIDENCE_LEVEL) / (2 * num_comparisons))
    share = z * z / (num_clusters + z * z)
    return difference - share * (largest + difference), difference + share * (largest - difference)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
