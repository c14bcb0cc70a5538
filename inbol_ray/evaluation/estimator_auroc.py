"""Which estimate of what a model knows tells best whether it will be right?

The original model's greedy replies (PREDICTION) and its samples (SAMPLED_ANSWERS) on the same test questions
-> AUROC of each estimate, with its ROC curve, for `results.json` and the report.

The judged reply is a fresh greedy one, none of the samples that the estimates come from. Even so the three are not
alike: accuracy-based confidence needs the reference answer that the reply is judged by, the other two only the samples.
Left out are refusals (there is no answer to be right), and questions that the image cannot answer, where confidence is
0 by construction.
"""

import numpy as np
import pyarrow as pa

ESTIMATORS = ("confidence", "self_consistency", "likelihood")
"""Columns of SAMPLED_ANSWERS. Confidence needs the reference answer."""


def compare_estimators(predictions: pa.Table, answers: pa.Table) -> list[dict]:
    """One row per estimator and domain: `auroc` and its 95% `interval` in percent, `num_questions`, `roc` as (x, y) pairs.

    Domains where all replies or none are right are left out.
    """
    sampled = {row["id"]: row for row in answers.select(["id", *ESTIMATORS]).to_pylist()}
    judged: dict[str, list[dict]] = {}
    for row in predictions.select(["id", "method", "domain", "answerable", "outcome"]).to_pylist():
        is_answer = row["method"] == "original" and row["answerable"] and row["outcome"] in ("correct", "wrong")
        if is_answer and row["id"] in sampled:
            judged.setdefault(row["domain"], []).append(row)
    compared = []
    for domain, rows in judged.items():
        right = np.array([row["outcome"] == "correct" for row in rows])
        if right.all() or not right.any():
            continue
        for name in ESTIMATORS:
            scores = np.array([sampled[row["id"]][name] for row in rows])
            auroc, half = area_under_roc(scores, right)
            compared.append(
                {
                    "estimator": name,
                    "domain": domain,
                    "num_questions": len(rows),
                    "auroc": 100 * auroc,
                    "interval": [100 * max(0.0, auroc - half), 100 * min(1.0, auroc + half)],
                    "roc": roc_curve(scores, right),
                }
            )
    return compared


def area_under_roc(scores: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """(AUROC, half its 95% interval) of `scores` [n] for the flags `right` [n]; ties count half.

    Source: variance of DeLong et al. 1988, by placements.
    """
    positive, negative = np.sort(scores[right]), np.sort(scores[~right])

    def placements(values: np.ndarray, others: np.ndarray) -> np.ndarray:
        below = np.searchsorted(others, values, "left") + np.searchsorted(others, values, "right")
        return below / (2 * len(others))

    of_positive, of_negative = placements(positive, negative), 1 - placements(negative, positive)
    variance = sum(part.var(ddof=1) / len(part) for part in (of_positive, of_negative) if len(part) > 1)
    return float(of_positive.mean()), float(1.96 * np.sqrt(variance))


def roc_curve(scores: np.ndarray, right: np.ndarray, max_points: int = 100) -> list[tuple[float, float]]:
    """(false positive rate, true positive rate) in percent, from (0, 0) to (100, 100), one point per distinct score.

    Thinned to about `max_points`.
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    hits = np.cumsum(right[order])[ends]
    x = np.append(0.0, 100 * (ends + 1 - hits) / (~right).sum())
    y = np.append(0.0, 100 * hits / right.sum())
    kept = np.unique(np.linspace(0, len(x) - 1, min(len(x), max_points)).astype(int))
    return [(round(float(x[at]), 2), round(float(y[at]), 2)) for at in kept]
