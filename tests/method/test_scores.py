"""Scores of a group by hand, the identity of S_trust, and intervals against plain resampling."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inbol_ray.errors import DataError
from inbol_ray.method.intervals import wilson_interval
from inbol_ray.method.scores import difference_interval, trust_scores
from inbol_ray.rows import OUTCOMES

PAPER_OUT_OF_DOMAIN = """
    7b           78.56/0.00/57.13  59.65/0.00/19.30  34.70/0.00/-30.60   62.80/0.00/25.60
    7b+prompt    56.77/26.20/39.74 58.65/3.43/20.74  32.22/12.89/-22.67  59.36/0.69/19.42
    7b+sft       74.32/3.49/52.14  59.39/2.77/21.55  34.20/1.67/-29.93   63.32/0.26/26.89
    7b+idk_it    55.50/36.24/47.24 50.46/23.88/24.81 15.22/69.67/0.11    46.39/39.09/31.87
    7b+ca_dpo    72.23/17.64/62.10 60.41/12.95/33.77 19.67/56.67/-4.00   58.42/18.13/34.97
    13b          78.95/0.00/57.90  61.81/0.00/23.63  36.22/0.00/-27.56   67.96/0.00/35.91
    13b+prompt   63.32/18.95/45.59 61.36/1.96/24.69  27.78/19.56/-24.89  64.69/0.26/29.64
    13b+sft      77.82/2.62/58.25  61.32/1.69/24.33  38.22/1.78/-21.78   67.01/0.00/34.02
    13b+idk_it   63.93/23.06/50.92 52.27/19.22/23.77 14.22/74.33/2.78    55.84/23.91/35.60
    13b+ca_dpo   73.89/15.63/63.41 59.70/13.82/33.22 25.89/41.78/-6.44   62.63/14.69/39.95
"""
"""The paper's out-of-domain table: Acc/RefR/S_trust on A-OKVQA, GQA, MMMU and MMBench."""


def test_by_hand():
    # 5 correct, 2 wrong of which 1 unparsed, 3 refused: Acc 50, RefR 30, S_trust (5 - 2) / 10 = 30, answered 5 / 7.
    metrics = trust_scores(["correct"] * 5 + ["wrong"] * 2 + ["refused"] * 3, [False] * 5 + [True] + [False] * 4)
    assert (metrics.num_questions, metrics.num_errors) == (10, 0)
    assert (metrics.acc, metrics.refr, metrics.s_trust) == (50.0, 30.0, 30.0)
    assert metrics.answered_acc == pytest.approx(500 / 7)
    assert metrics.unparsed_rate == 10.0


def test_an_error_counts_against_the_model():
    metrics = trust_scores(["correct"] * 5 + ["error"] * 5, [True] * 10)
    assert (metrics.num_questions, metrics.num_errors) == (10, 5)
    assert (metrics.acc, metrics.refr, metrics.s_trust) == (50.0, 0.0, 0.0)
    assert metrics.answered_acc == 100.0  # nothing was answered wrongly
    assert metrics.unparsed_rate == 0.0  # only a wrong reply can be unparsed


def test_refusal_is_never_correct():
    metrics = trust_scores(["refused"] * 4)
    assert (metrics.acc, metrics.refr, metrics.s_trust, metrics.answered_acc) == (0.0, 100.0, 0.0, None)


def test_nothing_at_all():
    empty = trust_scores([])
    assert [empty.num_questions, empty.acc, empty.refr, empty.s_trust, empty.s_trust_interval] == [0] + [None] * 4


def test_unknown_outcome_is_an_error():
    with pytest.raises(DataError, match="'maybe'"):
        trust_scores(["correct", "maybe"])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(OUTCOMES), max_size=60))
def test_identity_is_exact_and_intervals_hold_their_value(outcomes):
    metrics = trust_scores(outcomes).to_dict()
    assert metrics["num_questions"] == len(outcomes)
    if not outcomes:
        return
    assert metrics["s_trust"] == 2 * metrics["acc"] + metrics["refr"] - 100
    values = {"correct": 1, "wrong": -1, "refused": 0, "error": -1}
    assert metrics["s_trust"] == pytest.approx(100 * np.mean([values[outcome] for outcome in outcomes]), abs=1e-9)
    for score in ("acc", "refr", "s_trust", "answered_acc", "unparsed_rate"):
        if metrics[score] is not None:
            low, high = metrics[f"{score}_interval"]
            assert low <= metrics[score] + 1e-9 and metrics[score] - 1e-9 <= high
            assert (-100 if score == "s_trust" else 0) <= low <= high <= 100


@pytest.mark.parametrize("line", PAPER_OUT_OF_DOMAIN.split("\n")[1:-1])
def test_the_papers_table_follows_from_its_acc_and_refr(line):
    for cell in line.split()[1:]:
        acc, refr, s_trust = map(float, cell.split("/"))
        # Acc is rounded to .005 and counts twice, RefR and S_trust once each.
        assert 2 * acc + refr - 100 == pytest.approx(s_trust, abs=0.0201), (line.split()[0], cell)


def test_intervals_agree_with_resampling_the_replies_themselves():
    outcomes = np.array(["correct"] * 55 + ["wrong"] * 30 + ["refused"] * 12 + ["error"] * 3)
    metrics = trust_scores(outcomes)
    rng = np.random.default_rng(5)
    drawn = outcomes[rng.integers(0, 100, (20_000, 100))]
    acc, refr = 100 * (drawn == "correct").mean(1), 100 * (drawn == "refused").mean(1)
    answered = 100 * (drawn == "correct").sum(1) / ((drawn == "correct") | (drawn == "wrong")).sum(1)
    for interval, values in (
        (metrics.acc_interval, acc),
        (metrics.refr_interval, refr),
        (metrics.s_trust_interval, 2 * acc + refr - 100),
        (metrics.answered_acc_interval, answered),
    ):
        assert interval == pytest.approx(np.percentile(values, [2.5, 97.5]), abs=1.6)


def test_a_rate_that_resampling_cannot_leave_has_wilsons_interval():
    assert wilson_interval(0, 10) == pytest.approx((0.0, 0.27753), abs=1e-5)
    assert wilson_interval(0, 0) is None
    metrics = trust_scores(["correct"] * 10)
    assert metrics.refr_interval == pytest.approx((0.0, 27.753), abs=1e-3)
    assert metrics.acc_interval == pytest.approx((72.247, 100.0), abs=1e-3)
    assert metrics.s_trust_interval == pytest.approx((100 - 2 * 27.753, 100.0), abs=1e-3)
    assert trust_scores(["refused"] * 10).s_trust_interval == pytest.approx((-27.753, 27.753), abs=1e-3)


def test_the_same_replies_have_the_same_intervals():
    outcomes = ["correct", "wrong", "refused"] * 9
    assert trust_scores(outcomes) == trust_scores(outcomes[::-1])


def test_paired_differences():
    mean, (low, high) = difference_interval(np.array([2] * 30 + [0] * 60 + [-1] * 10))
    assert mean == pytest.approx(50.0)
    # standard error 100 * sd / 10 with sd = sqrt(1.3 - 0.25) = 1.0247: about 50 -+ 20
    assert (low, high) == pytest.approx((50 - 20.1, 50 + 20.1), abs=1.5)
    assert difference_interval(np.array([], dtype=int)) == (None, None)
