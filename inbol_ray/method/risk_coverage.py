"""Confidences and outcomes -> how much can be answered at which error rate, and the area under that curve.

At a threshold, coverage is the share of questions answered and risk the error rate among them. AURC is the mean risk
over all coverages (Geifman et al., arXiv 1805.08206, Sec. 2): lower is better; the error rate itself is what a model
without any idea of its confidence gets. Questions of equal confidence are answered together. Beside it stands the
expected calibration error (`calibration_error`): AURC asks whether confidences order the answers, that whether they are
the chance of being right.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from inbol_ray.method.calibration_error import NUM_BINS, expected_calibration_error

RISKS = (0.05, 0.1, 0.2)
Signal = Literal["first_token", "reported"]
"""Where confidences come from: 1 - P(refusal) at the first token of an answer that was forced, or they came with the
replies: a file's own figures, the length-normalised probabilities of an endpoint's."""


@dataclass(frozen=True)
class Curve:
    """Points by rising coverage; `coverage_P` and `risk_P` are in (0, 1] and [0, 1]."""

    coverage_P: np.ndarray
    risk_P: np.ndarray

    @property
    def aurc(self) -> float:
        """Area under the curve; each point stands for the questions that it adds."""
        return float(np.sum(np.diff(self.coverage_P, prepend=0.0) * self.risk_P))

    def coverage_at(self, risk: float) -> float:
        """Largest coverage whose risk is at most `risk`; 0 without one."""
        within = self.coverage_P[self.risk_P <= risk + 1e-12]
        return float(within[-1]) if within.size else 0.0


def risk_coverage(confidence_N: np.ndarray, wrong_N: np.ndarray) -> Curve:
    """The curve of N >= 1 questions."""
    order = np.argsort(-confidence_N, kind="stable")
    sorted_N, errors_N = confidence_N[order], np.cumsum(wrong_N[order])
    last_of_ties = np.append(np.flatnonzero(np.diff(sorted_N)), len(sorted_N) - 1)
    answered_P = last_of_ties + 1
    return Curve(answered_P / len(sorted_N), errors_N[last_of_ties] / answered_P)


def summarise(rows: Sequence[Mapping], signal: Signal = "first_token") -> list[dict]:
    """AURC, coverages, calibration errors and a thinned curve for each method and domain, in percent.

    `rows` have `method`, `domain`, `confidence` in [0, 1] and `wrong` (SIGNAL rows, or `answers_with_confidence`).
    """
    groups: dict[tuple[str, str], list[Mapping]] = {}
    for row in rows:
        groups.setdefault((row["method"], row["domain"]), []).append(row)
    summary = []
    for (method, domain), members in groups.items():
        confidence_N = np.array([row["confidence"] for row in members])
        wrong_N = np.array([row["wrong"] for row in members], bool)
        curve = risk_coverage(confidence_N, wrong_N)
        # A point a percent of coverage is finer than a screen shows.
        kept = np.unique(np.searchsorted(curve.coverage_P, np.linspace(0.02, 1, 99) - 1e-9))
        summary.append(
            {
                "method": method,
                "domain": domain,
                "signal": signal,
                "num_questions": len(members),
                "aurc": 100 * curve.aurc,
                "error_rate": 100 * float(curve.risk_P[-1]),
                "ece_equal_width": 100 * expected_calibration_error(confidence_N, ~wrong_N, "width"),
                "ece_equal_mass": 100 * expected_calibration_error(confidence_N, ~wrong_N, "mass"),
                "ece_num_bins": NUM_BINS,
                **{f"coverage_at_{100 * risk:g}": 100 * curve.coverage_at(risk) for risk in RISKS},
                "curve": [
                    [round(100 * float(curve.coverage_P[k]), 2), round(100 * float(curve.risk_P[k]), 2)] for k in kept
                ],
            }
        )
    return summary


def answers_with_confidence(predictions: pa.Table) -> list[dict]:
    """PREDICTION rows -> rows for `summarise`: the answers, right or wrong, that came with a confidence.

    Refusals and errors are no answers, so coverage is a share of the answers that the model gave of itself.
    """
    columns = predictions.select(["method", "domain", "confidence", "outcome"])
    return [
        {**row, "wrong": row["outcome"] == "wrong"}
        for row in columns.filter(pc.is_valid(columns["confidence"])).to_pylist()
        if row["outcome"] in ("correct", "wrong")
    ]
