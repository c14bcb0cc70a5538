"""S(lambda) against hand-computed numbers and S_trust; where two methods change places."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inbol_ray.method.penalty import MAX_PENALTY, order_change, order_changes, penalised_score, penalty_curves
from inbol_ray.method.scores import trust_scores

RATES = st.tuples(st.floats(0, 100), st.floats(0, 1)).map(lambda pair: (pair[0], (100 - pair[0]) * pair[1]))


@settings(deadline=None)
@given(outcomes=st.lists(st.sampled_from(["correct", "wrong", "refused", "error"]), min_size=1, max_size=30))
def test_s_trust_is_s_at_1_errors_included(outcomes):
    scores = trust_scores(outcomes)
    assert penalised_score(scores.acc, scores.refr) == pytest.approx(scores.s_trust)
    wrong = 100 * sum(outcome in ("wrong", "error") for outcome in outcomes) / len(outcomes)
    assert penalised_score(scores.acc, scores.refr) == pytest.approx(scores.acc - wrong)


def test_by_hand():
    # 50 right, 20 refused, so 30 wrong.
    assert [penalised_score(50, 20, penalty) for penalty in (0, 1, 2, 4)] == [50, 20, -10, -70]
    (curve,) = penalty_curves([{"method": "sft", "domain": "in_domain", "seed": 0, "acc": 50.0, "refr": 20.0}])
    assert len(curve["points"]) == 41
    assert (curve["points"][0], curve["points"][10], curve["points"][-1]) == ([0, 50], [1, 20], [MAX_PENALTY, -70])
    assert penalty_curves([{"method": "sft", "domain": "in_domain", "seed": 0, "acc": None, "refr": None}]) == []


def test_order_of_two_methods():
    # 60 - 40 l = 40 - 10 l at l = 2/3.
    assert order_change((60, 0), (40, 50)) == order_change((40, 50), (60, 0)) == pytest.approx(2 / 3)
    assert order_change((60, 0), (50, 0)) is None  # fewer right and more wrong: behind at every price
    assert order_change((60, 0), (60, 20)) is None  # equal at 0 alone
    assert order_change((60, 0), (40, 21)) is None  # 20 points for one wrong reply in a hundred: at 20
    scores = {"original": {"acc": 60, "refr": 0}, "idk_it": {"acc": 40, "refr": 50}, "sft": {"acc": 59, "refr": 0}}
    first, second = order_changes(scores)
    assert (first["ahead_below"], first["ahead_above"]) == ("sft", "idk_it")
    assert (second["ahead_below"], second["ahead_above"]) == ("original", "idk_it")
    assert second["penalty"] == pytest.approx(2 / 3)


@settings(deadline=None)
@given(one=RATES, other=RATES)
def test_at_the_change_both_are_equal_and_the_order_is_the_other_one_after_it(one, other):
    penalty = order_change(one, other)
    if penalty is None:
        gaps = [penalised_score(*one, at) - penalised_score(*other, at) for at in (1e-9, MAX_PENALTY - 1e-9)]
        assert gaps[0] * gaps[1] > -1e-6
    else:
        assert penalised_score(*one, penalty) == pytest.approx(penalised_score(*other, penalty), abs=1e-6)
