"""A method's calibration as a file: thresholds for target risks, and the conditions under which they hold."""

import json
import math
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, ValidationError

from inbol_ray.calibration.conditions import Conditions, QuestionKind, Stored
from inbol_ray.config.section import OpenFraction
from inbol_ray.errors import ConfigError
from inbol_ray.method.thresholds import TARGET_RISKS, fit_threshold, threshold_grid
from inbol_ray.sampling.checkpoints import model_digest

FORMAT = 2


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
            f"{path}: cannot read the calibration file ({error.strerror}): run the job `calibrate`"
        ) from None
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise ConfigError(
            f"{path}: not a calibration file ({where}: {fault['msg']}): run the job `calibrate`"
        ) from None
    if calibration.checkpoint_digest != (digest := model_digest(checkpoint)):
        raise ConfigError(
            f"{path}: was made for checkpoint {calibration.checkpoint_digest[:19]}, but {checkpoint} is {digest[:19]}: "
            "run the job `calibrate` for this model"
        )
    return calibration


def write_calibration(calibration: Calibration, path: Path) -> None:
    path.write_text(json.dumps(calibration.model_dump(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
