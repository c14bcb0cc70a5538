"""Calibrate any column of confidences: thresholds for a target risk, risk and coverage, calibration error.

usage: python examples/calibrate_confidences.py [FILE.csv | FILE.parquet]

The file has the columns `confidence`, in [0, 1], and `correct`, true or false: one row per answer to a validation
question, from any model. Without a file, 2,000 answers are simulated.
"""

import sys
from dataclasses import dataclass

import numpy as np
import pyarrow.csv
import pyarrow.parquet

from inbol_ray import DataError, expected_calibration_error, fit_threshold, risk_coverage, threshold_grid

TARGET_RISKS = (0.05, 0.1, 0.2)
DELTA = 0.1


@dataclass(frozen=True)
class Calibration:
    """`thresholds` by target risk; infinity where no threshold could be proven."""

    thresholds: dict[float, float]
    aurc: float
    ece: float


def read_answers(path: str) -> tuple[np.ndarray, np.ndarray]:
    """(confidence, correct), [N] each. Raises DataError for a file without these columns or with other values."""
    if path.endswith(".csv"):
        table = pyarrow.csv.read_csv(path)
    elif path.endswith(".parquet"):
        table = pyarrow.parquet.read_table(path)
    else:
        raise DataError(f"{path}: expected a name that ends in .csv or .parquet. Convert the file.")
    if missing := {"confidence", "correct"} - set(table.column_names):
        raise DataError(
            f"{path}: found columns {table.column_names}, expected {sorted(missing)} too. Add or rename them."
        )
    confidence, correct = table["confidence"].to_numpy(), table["correct"].to_numpy()
    wrong_rows = np.flatnonzero(~((confidence >= 0) & (confidence <= 1)))
    if len(wrong_rows):
        row = int(wrong_rows[0])
        raise DataError(
            f"{path}, row {row + 1}: confidence is {confidence[row]}, expected 0 to 1. Divide percentages by 100."
        )
    return confidence.astype(float), correct.astype(bool)


def simulate_answers(count: int = 2_000) -> tuple[np.ndarray, np.ndarray]:
    """Answers of a model that is surer than it should be."""
    rng = np.random.default_rng(0)
    chance = rng.beta(3, 1, count)
    return np.sqrt(chance), rng.random(count) < chance


def main(path: str | None = None) -> Calibration:
    confidence, correct = read_answers(path) if path else simulate_answers()
    curve = risk_coverage(confidence, ~correct)
    ece = expected_calibration_error(confidence, correct)
    print(f"{len(confidence):,} answers, {1 - correct.mean():.1%} wrong; AURC {curve.aurc:.3f}, ECE {ece:.3f}")
    thresholds = {}
    for risk in TARGET_RISKS:
        thresholds[risk] = threshold = fit_threshold(confidence, ~correct, threshold_grid(), risk, DELTA)
        answered = confidence >= threshold
        if answered.any():
            outcome = (
                f"answer from {threshold:.4f}: {answered.mean():.0%} answered, {1 - correct[answered].mean():.1%} wrong"
            )
        else:
            outcome = "no threshold can be proven; more answers or a better signal are needed"
        print(f"at most {risk:.0%} wrong, with probability {1 - DELTA:.0%}: {outcome}")
    return Calibration(thresholds, curve.aurc, ece)


if __name__ == "__main__":
    main(*sys.argv[1:2])
