"""Confidences and outcomes -> how much can be answered at which error rate, and the area under that curve.

At a threshold, coverage is the share of questions answered and risk the error rate among them. AURC is the mean risk
over all coverages (Geifman et al., arXiv 1805.08206, Sec. 2): lower is better; the error rate itself is what a model
without any idea of its confidence gets. Questions of equal confidence are answered together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

RISKS = (0.05, 0.1, 0.2)


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


def summarise(rows: Sequence[Mapping]) -> list[dict]:
    """AURC, coverages and a thinned curve for each method and domain of SIGNAL rows, in percent."""
    groups: dict[tuple[str, str], list[Mapping]] = {}
    for row in rows:
        groups.setdefault((row["method"], row["domain"]), []).append(row)
    summary = []
    for (method, domain), members in groups.items():
        curve = risk_coverage(
            np.array([row["confidence"] for row in members]), np.array([row["wrong"] for row in members])
        )
        # A point a percent of coverage is finer than a screen shows.
        kept = np.unique(np.searchsorted(curve.coverage_P, np.linspace(0.02, 1, 99) - 1e-9))
        summary.append(
            {
                "method": method,
                "domain": domain,
                "num_questions": len(members),
                "aurc": 100 * curve.aurc,
                "error_rate": 100 * float(curve.risk_P[-1]),
                **{f"coverage_at_{100 * risk:g}": 100 * curve.coverage_at(risk) for risk in RISKS},
                "curve": [
                    [round(100 * float(curve.coverage_P[k]), 2), round(100 * float(curve.risk_P[k]), 2)] for k in kept
                ],
            }
        )
    return summary
