"""Thresholds: the guarantee over many draws where the true risk is known, and files that do not fit."""

import math
import shutil

import numpy as np
import pytest

from inbol_ray.calibration.calibration_file import (
    FORMAT,
    Calibration,
    calibrate_signal,
    load_calibration,
    write_calibration,
)
from inbol_ray.calibration.conditions import QuestionKind, current_conditions
from inbol_ray.config.machines import EngineConfig
from inbol_ray.config.model import PromptConfig
from inbol_ray.errors import ConfigError
from inbol_ray.method.thresholds import binomial_cdf, fit_threshold, threshold_grid
from inbol_ray.sampling.checkpoints import model_digest

DELTA = 0.1
NUM_DRAWS = 300
NOISE = 2.5 * math.sqrt(DELTA * (1 - DELTA) / NUM_DRAWS)


def draw(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Confidence uniform in [0, 1], wrong with probability 1 - confidence: risk(threshold) = (1 - threshold) / 2."""
    confidence_N = rng.random(count)
    return confidence_N, rng.random(count) > confidence_N


def true_risk(threshold: float) -> float:
    return (1 - threshold) / 2


@pytest.mark.parametrize("target_risk", [0.1, 0.2, 0.3])
@pytest.mark.parametrize("count", [100, 1000])
def test_the_target_is_missed_in_at_most_delta_of_many_draws(target_risk, count):
    rng = np.random.default_rng(0)
    grid = threshold_grid(None)
    found = [fit_threshold(*draw(rng, count), grid, target_risk, DELTA) for _ in range(NUM_DRAWS)]
    missed = sum(math.isfinite(t) and true_risk(t) > target_risk for t in found) / len(found)
    assert missed <= DELTA + NOISE


def test_without_correction_for_many_thresholds_the_same_draws_miss_more_often():
    """The check has teeth: the laxest threshold whose observed risk is small enough misses far more often."""
    rng = np.random.default_rng(0)
    grid = threshold_grid(None)
    missed = 0
    for _ in range(NUM_DRAWS):
        confidence_N, wrong_N = draw(rng, 1000)
        risks = [wrong_N[confidence_N >= t].mean() if (confidence_N >= t).any() else 1.0 for t in grid]
        laxest = max((k for k, risk in enumerate(risks) if risk <= 0.2), default=None)
        missed += laxest is not None and true_risk(grid[laxest]) > 0.2
    assert missed / NUM_DRAWS > DELTA + NOISE


def test_power_coverage_comes_near_the_ideal_with_more_questions():
    rng = np.random.default_rng(1)
    thresholds = [fit_threshold(*draw(rng, n), threshold_grid(None), 0.2, DELTA) for n in (200, 2000, 20000)]
    assert thresholds[0] >= thresholds[1] >= thresholds[2] >= 0.6  # 0.6 has risk 0.2
    assert thresholds[2] < 0.66


def test_what_cannot_be_proven_refuses_everything():
    wrong = np.ones(500, bool)
    assert fit_threshold(np.ones(500), wrong, threshold_grid(None), 0.3, DELTA) == math.inf
    assert fit_threshold(np.ones(3), ~wrong[:3], threshold_grid(None), 0.05, DELTA) == math.inf
    assert fit_threshold(np.ones(500), ~wrong, threshold_grid(None), 0.05, DELTA) == 0.0


@pytest.mark.parametrize(
    ("k", "n", "p", "expected"), [(0, 10, 0.1, 0.9**10), (1, 2, 0.5, 0.75), (3, 3, 0.2, 1.0), (0, 0, 0.5, 1.0)]
)
def test_binomial_cdf_against_hand_computed_values(k, n, p, expected):
    assert binomial_cdf(k, n, p) == pytest.approx(expected)


def test_a_target_between_two_calibrated_ones_takes_the_stricter():
    fitted = calibrate_signal(*draw(np.random.default_rng(2), 5000), DELTA)
    assert fitted.threshold_for(0.205) == fitted.threshold_for(0.2) > fitted.threshold_for(0.21)
    assert fitted.threshold_for(0.001) == math.inf
    assert fitted.threshold_for(0.9) == fitted.threshold_for(0.5)


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "tokenizer_config.json", "processor_config.json"):
        (folder / name).write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


@pytest.fixture
def stored(tmp_path, checkpoint):
    confidence_N, wrong_N = draw(np.random.default_rng(3), 300)
    calibration = Calibration(
        format=FORMAT,
        method="ca_dpo",
        checkpoint_digest=model_digest(str(checkpoint)),
        delta=DELTA,
        num_questions=300,
        kinds=[QuestionKind(dataset="vqav2", answer_kind="vqa10", num_images=1, num_questions=300)],
        conditions=current_conditions(PromptConfig(system="vicuna_v1"), EngineConfig()),
        max_tokens=16,
        signals={"first_token": calibrate_signal(confidence_N, wrong_N, DELTA)},
    )
    write_calibration(calibration, tmp_path / "ca_dpo.json")
    return calibration


def test_a_calibration_file_round_trips(tmp_path, stored, checkpoint):
    assert load_calibration(tmp_path / "ca_dpo.json", str(checkpoint)) == stored


def test_a_calibration_of_another_model_is_refused(tmp_path, stored, checkpoint):
    other = shutil.copytree(checkpoint, tmp_path / "other")
    (other / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(ConfigError, match="was made for checkpoint"):
        load_calibration(tmp_path / "ca_dpo.json", str(other))


@pytest.mark.parametrize("text", ["", "{}", '{"format": 1}', "[]", "\udcff"])
def test_a_broken_calibration_file_is_named(tmp_path, checkpoint, text):
    path = tmp_path / "broken.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match="broken.json: not a calibration file"):
        load_calibration(path, str(checkpoint))
    with pytest.raises(ConfigError, match="cannot read"):
        load_calibration(tmp_path / "missing.json", str(checkpoint))
