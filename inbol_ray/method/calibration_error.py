"""Expected calibration error (ECE): how far confidences are from the share of right answers that they promise.

confidence_N in [0, 1], correct_N flags -> ECE in [0, 1]

ECE = sum over bins of (n_b / N) * |accuracy_b - mean confidence_b|. Its value depends on the bins, so both usual kinds
are reported, each with the number of bins: of equal width (fixed, some may be empty) and of equal mass (as many answers
in each, as far as ties allow). It is biased upwards where bins hold few answers.

Source: Naeini et al., AAAI 2015 (ECE); Guo et al., arXiv 1706.04599, Sec. 2 (equal width, 15 bins); Nixon et al.,
arXiv 1904.01685 (equal mass). From memory: the papers were not at hand.
"""

from typing import Literal

import numpy as np

NUM_BINS = 15
BinKind = Literal["width", "mass"]


def expected_calibration_error(
    confidence_N: np.ndarray, correct_N: np.ndarray, kind: BinKind = "width", num_bins: int = NUM_BINS
) -> float:
    """ECE in [0, 1] of N >= 1 answers; `confidence_N` float in [0, 1], `correct_N` bool.

    Bins of equal width are (0, 1/B], (1/B, 2/B], ..., with 0 in the first. In bins of equal mass, answers of equal
    confidence share a bin, so that the order of rows changes nothing.

    Raises: ValueError without answers, or for a confidence outside [0, 1].
    """
    if not len(confidence_N):
        raise ValueError("no answers: the calibration error of nothing is not defined")
    if not ((confidence_N >= 0) & (confidence_N <= 1)).all():
        raise ValueError("confidences must lie in [0, 1]")
    bin_N = _equal_width(confidence_N, num_bins) if kind == "width" else _equal_mass(confidence_N, num_bins)
    # |accuracy - mean confidence| * n_b is the absolute sum of correct - confidence over the bin.
    gap_B = np.bincount(bin_N, weights=correct_N - confidence_N, minlength=num_bins)
    return float(np.abs(gap_B).sum() / len(confidence_N))


def _equal_width(confidence_N: np.ndarray, num_bins: int) -> np.ndarray:
    # The small term undoes rounding: 0.2 * 15 lies just above 3.
    return np.clip(np.ceil(confidence_N * num_bins - 1e-9).astype(int) - 1, 0, num_bins - 1)


def _equal_mass(confidence_N: np.ndarray, num_bins: int) -> np.ndarray:
    """The bin of each answer's rank; answers of equal confidence have their mean rank."""
    _, place_N, count_U = np.unique(confidence_N, return_inverse=True, return_counts=True)
    middle_U = np.cumsum(count_U) - count_U / 2
    return np.minimum((middle_U[place_N] * num_bins / len(confidence_N)).astype(int), num_bins - 1)
