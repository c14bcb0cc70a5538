import math

import pytest

from inbol_ray.confidence.estimators import likelihood, self_consistency
from inbol_ray.rows import Question

OPEN = Question("d:s:1", "d", "s", [], "What?", "open", ["cat"])
CHOICE = Question("d:s:2", "d", "s", [], "Which?", "mc", choices=["red", "blue"], gold_index=0)


def test_equal_meanings_are_one_answer():
    responses = ["The cat.", "cat", "Cat", "dog", "a dog"]
    assert self_consistency(OPEN, responses, ["wrong"] * 5) == pytest.approx(3 / 5)
    assert self_consistency(CHOICE, ["A", "A.", "blue"], ["correct", "correct", "wrong"]) == pytest.approx(2 / 3)


def test_a_refusal_is_no_answer():
    responses, outcomes = ["I don't know."] * 3 + ["cat"], ["refused"] * 3 + ["correct"]
    assert self_consistency(OPEN, responses, outcomes) == pytest.approx(1 / 4)
    assert self_consistency(OPEN, responses[:3], outcomes[:3]) == 0
    assert likelihood([[0.0]] * 3 + [[math.log(0.5)]], outcomes) == pytest.approx(0.5 / 4)


def test_likelihood_is_a_mean_of_length_normalised_probabilities():
    logprobs = [[math.log(0.25), math.log(1.0)], [math.log(0.1)]]
    assert likelihood(logprobs, ["correct", "wrong"]) == pytest.approx((0.5 + 0.1) / 2)
