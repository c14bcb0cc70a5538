"""Confidences and outcomes on validation questions -> thresholds that keep the error rate among answers.

For a target risk alpha the threshold lambda returned satisfies, over the draw of the validation questions,

    P( risk(lambda) > alpha ) <= delta,     risk(lambda) = P(answer wrong | confidence >= lambda)

for questions drawn like the validation questions, for any model and any number of them. Learn then Test
(Angelopoulos et al., arXiv 2110.01052, Sec. 3): each lambda of a grid that is fixed beforehand has the exact p-value
P(Bin(n, alpha) <= errors) for "risk(lambda) > alpha", n the number answered; fixed-sequence testing walks from the
strictest lambda to laxer ones and stops at the first that is not rejected. Strict ends of the grid answer few
questions and reject nothing, so the walk has several starts, which share delta.
"""

import json
import math
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, ValidationError

from inbol_ray.calibration.conditions import Conditions, QuestionKind, Stored
from inbol_ray.config.section import OpenFraction
from inbol_ray.errors import ConfigError
from inbol_ray.sampling.checkpoints import model_digest

FORMAT = 2
TARGET_RISKS = tuple(round(0.01 * k, 2) for k in range(1, 51))
_STARTS = 8


def threshold_grid(num_samples: int | None) -> np.ndarray:
    """Thresholds to test, strictest first: shares of samples, or the log-odds scale that probabilities live on."""
    if num_samples is not None:
        return np.arange(num_samples, -1, -1) / num_samples
    return np.append(1 / (1 + np.exp(-np.arange(10, -10.5, -0.25))), 0.0)


def fit_threshold(
    confidence_N: np.ndarray, wrong_N: np.ndarray, grid_L: np.ndarray, target_risk: float, delta: float
) -> float:
    """The laxest threshold of the grid whose risk is proven to be at most `target_risk`; infinity if none is.

    `confidence_N` float, `wrong_N` bool, `grid_L` from strict to lax, chosen without looking at the data.
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


class Threshold(Stored):
    """What one target costs. `threshold` null refuses everything: the target cannot be proven."""

    target_risk: OpenFraction
    threshold: Annotated[float, Field(ge=0, le=1)] | None
    coverage: float
    """Share of the validation questions that are answered."""
    observed_risk: float | None
    """Error rate among them; below the target, since the target holds with probability 1 - delta."""


class SignalCalibration(Stored):
    """Thresholds of one signal by rising target."""

    num_samples: int | None
    thresholds: list[Threshold]

    def threshold_for(self, target_risk: float) -> float:
        """The threshold of the largest calibrated target that is not above `target_risk`; infinity below them all."""
        proven = [entry for entry in self.thresholds if entry.target_risk <= target_risk + 1e-9]
        return proven[-1].threshold if proven and proven[-1].threshold is not None else math.inf


class Calibration(Stored):
    """The calibration file of one model."""

    format: Literal[2]
    method: str
    checkpoint_digest: str
    """`checkpoints.model_digest` of the model that the thresholds belong to; the server refuses any other."""
    delta: OpenFraction
    num_questions: int
    kinds: Annotated[list[QuestionKind], Field(min_length=1)]
    """What these questions are like. A target holds for questions that come in the same mixture."""
    conditions: Conditions
    """How they were asked; the server asks alike, or refuses the target."""
    max_tokens: int
    signals: dict[Literal["first_token", "agreement"], SignalCalibration]


def calibrate_signal(
    confidence_N: np.ndarray, wrong_N: np.ndarray, delta: float, num_samples: int | None = None
) -> SignalCalibration:
    """Thresholds for every target of TARGET_RISKS; `num_samples` for `agreement`. Each target holds on its own."""
    thresholds = []
    for target_risk in TARGET_RISKS:
        threshold = fit_threshold(confidence_N, wrong_N, threshold_grid(num_samples), target_risk, delta)
        answered_N = confidence_N >= threshold
        thresholds.append(
            Threshold(
                target_risk=target_risk,
                threshold=threshold if math.isfinite(threshold) else None,
                coverage=float(answered_N.mean()),
                observed_risk=float(wrong_N[answered_N].mean()) if answered_N.any() else None,
            )
        )
    return SignalCalibration(num_samples=num_samples, thresholds=thresholds)


def load_calibration(path: Path, checkpoint: str) -> Calibration:
    """Raises ConfigError for a file that is missing, malformed, or made for another checkpoint."""
    try:
        calibration = Calibration.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot read the calibration file ({error.strerror}): run jobs/calibrate.py"
        ) from None
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise ConfigError(f"{path}: not a calibration file ({where}: {fault['msg']}): run jobs/calibrate.py") from None
    if calibration.checkpoint_digest != (digest := model_digest(checkpoint)):
        raise ConfigError(
            f"{path}: was made for checkpoint {calibration.checkpoint_digest[:19]}, but {checkpoint} is {digest[:19]}: "
            "run jobs/calibrate.py for this model"
        )
    return calibration


def write_calibration(calibration: Calibration, path: Path) -> None:
    path.write_text(json.dumps(calibration.model_dump(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
