"""Paired differences, their intervals and p-values: by hand, by symmetry, and by how often they are wrong."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inbol_ray.evaluation.paired import PairedOutcomes, compare_paired, holm
from inbol_ray.method.scores import outcome_codes


def _pairs(rows, clusters=None) -> PairedOutcomes:
    a, b = ([row[side] for row in rows] for side in (0, 1))
    names = {"c": "correct", "w": "wrong", "r": "refused", "e": "error"}
    codes = [outcome_codes(np.array([names[one] for one in side], dtype=object)) for side in (a, b)]
    return PairedOutcomes(*codes, np.arange(len(rows)) if clusters is None else np.array(clusters))


def _by_metric(benchmarks, name="x"):
    found, critical = compare_paired(benchmarks)
    return {one.metric: one for one in found if one.benchmark == name}, critical


def test_differences_by_hand():
    found, _ = _by_metric({"x": _pairs(["cw", "cr", "rw", "ce", "cc"])})
    assert {name: one.difference for name, one in found.items()} == {
        "acc": 60.0,
        "refr": 0.0,
        "s_trust": 120.0,
        "answered_acc": pytest.approx(100 - 100 / 3),
    }
    assert (found["acc"].a, found["acc"].b, found["acc"].num_questions, found["acc"].num_clusters) == (80.0, 20.0, 5, 5)


def test_the_p_value_is_that_of_all_swaps():
    # Ten questions differ, all one way: of 2**10 swaps the two that leave all alike are as extreme.
    found, _ = _by_metric({"x": _pairs(["cw"] * 10 + ["cc"] * 30)})
    assert found["acc"].p_value == pytest.approx(2 / 2**10, abs=1.5e-3)
    assert _by_metric({"x": _pairs(["cw"] * 5 + ["wc"] * 5)})[0]["acc"].p_value == 1.0


def test_questions_of_one_image_count_as_one():
    rows = ["cw"] * 12 + ["wc"] * 4
    apart, _ = _by_metric({"x": _pairs(rows)})
    together, _ = _by_metric({"x": _pairs(rows, [k // 4 for k in range(16)])})
    assert together["acc"].num_clusters == 4 and together["acc"].difference == apart["acc"].difference == 50.0
    assert together["acc"].p_value > 0.5 > apart["acc"].p_value  # 10 of 16 swaps of four images are as extreme
    assert together["acc"].smallest_detectable > 1.5 * apart["acc"].smallest_detectable


def test_one_comparison_has_nearly_the_normal_interval_and_detectable_difference():
    # Only answers, so RefR cannot differ and Acc, S_trust and answered accuracy are one comparison.
    rows = ["cw"] * 60 + ["wc"] * 40 + ["cc"] * 300
    found, critical = _by_metric({"x": _pairs(rows)})
    error = 100 * np.sqrt((100 / 400 - (20 / 400) ** 2) / 400)
    assert critical == pytest.approx(1.96, abs=0.08)
    low, high = found["acc"].interval
    assert (low, high) == (pytest.approx(5 - 1.96 * error, abs=0.3), pytest.approx(5 + 1.96 * error, abs=0.3))
    assert found["acc"].smallest_detectable == pytest.approx((1.96 + 0.8416) * error, abs=0.3)


def test_more_comparisons_widen_the_intervals():
    rows = ["cw"] * 30 + ["wr"] * 20 + ["rc"] * 20 + ["cc"] * 130
    _, alone = _by_metric({"x": _pairs(rows)})
    several, corrected = _by_metric({f"x{k}": _pairs(rows) for k in range(8)}, None)
    assert corrected > alone + 0.2 and several["acc"].num_questions == 8 * 200
    # The sum of eight independent benchmarks has an eighth of the variance of one.
    one = _by_metric({"x": _pairs(rows)})[0]["acc"].smallest_detectable / (alone + 0.8416)
    assert several["acc"].smallest_detectable / (corrected + 0.8416) == pytest.approx(one / np.sqrt(8), rel=0.05)


def test_alike_everywhere_is_not_certain():
    found, critical = _by_metric({"x": _pairs(["cw"] * 6)})
    assert critical is None and found["acc"].difference == 100.0 and found["acc"].smallest_detectable is None
    low, high = found["acc"].interval
    assert high == 100.0 and -100 < low < 50
    nothing, _ = _by_metric({"x": _pairs(["cc"] * 100)})
    assert nothing["acc"].interval[0] == -nothing["acc"].interval[1] < 0 and nothing["acc"].p_value == 1.0


def test_what_is_not_defined():
    refusing, _ = _by_metric({"x": _pairs(["rc", "rw", "rc"])})
    assert (refusing["answered_acc"].a, refusing["answered_acc"].difference, refusing["answered_acc"].p_holm) == (
        None,
    ) * 3
    one_image, _ = _by_metric({"x": _pairs(["cw", "cw"], [0, 0])})
    assert one_image["acc"].interval is None and one_image["acc"].p_value == 1.0


OUTCOMES = st.lists(st.tuples(st.sampled_from("cwre"), st.sampled_from("cwre")), min_size=2, max_size=20)


@settings(max_examples=20, deadline=None)
@given(rows=OUTCOMES)
def test_sides_can_be_exchanged(rows):
    forward, backward = (_by_metric({"x": _pairs(side)})[0] for side in (rows, [row[::-1] for row in rows]))
    for metric, one in forward.items():
        other = backward[metric]
        assert (one.a, one.b, one.num_questions) == (other.b, other.a, other.num_questions)
        if one.difference is not None:
            assert one.difference == -other.difference and 0 < one.p_value <= one.p_holm <= 1
            assert one.interval[0] - 1e-9 <= one.difference <= one.interval[1] + 1e-9


def test_holm_by_hand():
    # Smallest first: 0.01 * 3, then 0.02 * 2, then 0.03 * 1, which may not fall below the one before.
    assert holm(np.array([[0.03, 0.01], [np.nan, 0.02]])) == pytest.approx(
        np.array([[0.04, 0.03], [np.nan, 0.04]]), nan_ok=True
    )
    assert holm(np.array([0.6, 0.7])).tolist() == [1.0, 1.0]


def test_intervals_hold_together_and_false_alarms_stay_rare():
    """40 pairs of equal methods: about 2 miss in any of their comparisons, 8 or more in one of a thousand tests."""
    rng = np.random.default_rng(7)
    missed = alarms = 0
    for _ in range(40):
        benchmarks = {}
        for name in "xy":
            codes = rng.choice(3, p=[0.5, 0.3, 0.2], size=(2, 120)).astype(np.int8)
            benchmarks[name] = PairedOutcomes(codes[0], codes[1], np.arange(120) // 2)
        found, _ = compare_paired(benchmarks)
        missed += any(not one.interval[0] <= 0 <= one.interval[1] for one in found)
        alarms += any(one.p_holm < 0.05 for one in found)
    assert missed < 8 and alarms < 8
