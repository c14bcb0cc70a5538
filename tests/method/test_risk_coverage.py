"""Risk-coverage curves against hand-computed numbers."""

import numpy as np
import pytest

from inbol_ray.method.risk_coverage import risk_coverage


def test_curve_of_four_questions():
    curve = risk_coverage(np.array([0.9, 0.8, 0.7, 0.6]), np.array([False, True, False, True]))
    assert curve.coverage_P.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert curve.risk_P == pytest.approx([0, 1 / 2, 1 / 3, 1 / 2])
    assert curve.aurc == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert curve.coverage_at(0.34) == 0.75 and curve.coverage_at(0.2) == 0.25


def test_equal_confidences_are_answered_together():
    curve = risk_coverage(np.array([0.5, 0.5, 0.5, 0.1]), np.array([True, False, False, True]))
    assert curve.coverage_P.tolist() == [0.75, 1.0]
    assert curve.aurc == pytest.approx(0.75 / 3 + 0.25 / 2)
    assert curve.coverage_at(0.1) == 0.0


def test_a_useless_confidence_has_the_error_rate_as_area():
    rng = np.random.default_rng(0)
    wrong = rng.random(20_000) < 0.3
    assert risk_coverage(rng.random(20_000), wrong).aurc == pytest.approx(0.3, abs=0.03)
    assert risk_coverage(-wrong.astype(float), wrong).aurc == pytest.approx(0.3 * 0.3, abs=0.01)
