"""ECE by hand, at bin edges, with ties, and that the order of rows changes nothing."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inbol_ray.method.calibration_error import expected_calibration_error
from inbol_ray.method.risk_coverage import answers_with_confidence, summarise


def test_equal_width_by_hand():
    # Bins (0, 0.5] and (0.5, 1]: accuracies 1/2 and 1, mean confidences 0.25 and 0.9.
    confidence_N, correct_N = np.array([0.2, 0.3, 0.8, 1.0]), np.array([True, False, True, True])
    expected = 0.5 * abs(0.5 - 0.25) + 0.5 * abs(1 - 0.9)
    assert expected_calibration_error(confidence_N, correct_N, "width", 2) == pytest.approx(expected)


def test_equal_mass_by_hand():
    # The two least and the two most confident answers.
    confidence_N, correct_N = np.array([0.9, 0.6, 0.95, 0.7]), np.array([True, False, False, True])
    expected = 0.5 * abs(0.5 - 0.65) + 0.5 * abs(0.5 - 0.925)
    assert expected_calibration_error(confidence_N, correct_N, "mass", 2) == pytest.approx(expected)


def test_an_edge_belongs_to_the_bin_below_it_and_0_to_the_first():
    # With 15 bins 0.2 is the end of the third; 0.2 * 15 rounds to just above 3. One bin: |1/2 - 0.175|.
    assert expected_calibration_error(np.array([0.15, 0.2]), np.array([True, False])) == pytest.approx(0.5 - 0.175)
    assert expected_calibration_error(np.array([0.0]), np.array([False])) == 0.0


def test_answers_of_equal_confidence_share_a_bin_of_equal_mass():
    confidence_N = np.array([0.5, 0.5, 0.5, 0.5])
    assert expected_calibration_error(confidence_N, np.array([True, True, False, False]), "mass", 4) == 0.0


@settings(deadline=None)
@given(
    rows=st.lists(st.tuples(st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0]), st.booleans()), min_size=1, max_size=40),
    kind=st.sampled_from(["width", "mass"]),
    random=st.randoms(use_true_random=False),
)
def test_bounds_and_order(rows, kind, random):
    def error(rows):
        confidences, correct = zip(*rows, strict=True)
        return expected_calibration_error(np.array(confidences), np.array(correct), kind)

    value = error(rows)
    confidences, correct = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    # Bins only split the whole gap.
    assert abs(correct.mean() - confidences.mean()) - 1e-12 <= value <= 1
    random.shuffle(rows)
    assert error(rows) == pytest.approx(value)


@pytest.mark.parametrize("confidences", [[], [1.5], [-0.1], [float("nan")]])
def test_bad_confidences(confidences):
    with pytest.raises(ValueError):
        expected_calibration_error(np.array(confidences, float), np.ones(len(confidences), bool))


def test_results_have_both_kinds_and_the_number_of_bins():
    predictions = [
        {"method": "a", "domain": "in_domain", "confidence": confidence, "outcome": outcome}
        for confidence, outcome in [(1.0, "correct"), (1.0, "wrong"), (0.9, "refused"), (None, "wrong"), (0.5, "error")]
    ]
    (row,) = summarise(answers_with_confidence(pa.Table.from_pylist(predictions)), "reported")
    assert (row["signal"], row["num_questions"], row["error_rate"], row["ece_num_bins"]) == ("reported", 2, 50.0, 15)
    assert row["ece_equal_width"] == row["ece_equal_mass"] == 50.0
