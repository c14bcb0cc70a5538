"""Confidences and outcomes on validation questions -> thresholds that keep the error rate among answers.

For a target risk alpha the threshold lambda returned satisfies, over the draw of the validation questions,

    P( risk(lambda) > alpha ) <= delta,     risk(lambda) = P(answer wrong | confidence >= lambda)

for questions drawn like the validation questions, for any model and any number of them. Learn then Test
(Angelopoulos et al., arXiv 2110.01052, Sec. 3): each lambda of a grid that is fixed beforehand has the exact p-value
P(Bin(n, alpha) <= errors) for "risk(lambda) > alpha", n the number answered; fixed-sequence testing walks from the
strictest lambda to laxer ones and stops at the first that is not rejected. Strict ends of the grid answer few
questions and reject nothing, so the walk has several starts, which share delta.
"""

import math

import numpy as np

TARGET_RISKS = tuple(round(0.01 * k, 2) for k in range(1, 51))
_STARTS = 8


def threshold_grid(num_samples: int | None = None) -> np.ndarray:
    """Thresholds to test, strictest first: shares of samples, or the log-odds scale that probabilities live on."""
    if num_samples is not None:
        return np.arange(num_samples, -1, -1) / num_samples
    return np.append(1 / (1 + np.exp(-np.arange(10, -10.5, -0.25))), 0.0)


def fit_threshold(
    confidence_N: np.ndarray, wrong_N: np.ndarray, grid_L: np.ndarray, target_risk: float, delta: float = 0.1
) -> float:
    """The laxest threshold of the grid whose risk is proven to be at most `target_risk`; infinity if none is.

    `confidence_N` float, `wrong_N` bool, `grid_L` from strict to lax, chosen without looking at the data. `delta` is the
    accepted probability that the promise is broken.
    """
    answered_L = (confidence_N[None] >= grid_L[:, None]).sum(1)
    errors_L = (wrong_N[None] & (confidence_N[None] >= grid_L[:, None])).sum(1)
    starts = np.unique(np.linspace(0, len(grid_L) - 1, _STARTS).astype(int))
    level = delta / len(starts)
    best = -1
    for start in starts:
        for index in range(start, len(grid_L)):
            if binomial_cdf(errors_L[index], answered_L[index], target_risk) > level:
                break
            best = max(best, index)
    return float(grid_L[best]) if best >= 0 else math.inf


def binomial_cdf(successes: int, trials: int, probability: float) -> float:
    """P(Bin(trials, probability) <= successes); 1 without trials."""
    if successes >= trials:
        return 1.0
    k = np.arange(1, int(successes) + 1)
    steps = np.log((trials - k + 1) / k) + math.log(probability) - math.log1p(-probability)
    log_terms = trials * math.log1p(-probability) + np.concatenate([[0.0], np.cumsum(steps)])
    return min(1.0, float(np.exp(log_terms).sum()))
