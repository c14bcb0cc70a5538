"""The sequential test: its error and the estimate's bias on simulated models, and what it saves."""

import math

import numpy as np
import pytest

from inbol_ray.confidence.adaptive_rounds import AdaptiveRounds
from inbol_ray.config.sampling import AdaptiveConfig, ClassConfig, SamplingConfig
from inbol_ray.method.classes import classify
from inbol_ray.method.simulated_questions import simulate_questions
from inbol_ray.method.stopping import confidence_bounds, error_bound, next_round, replay
from inbol_ray.rows import Question
from inbol_ray.sampling.vllm_engine import Reply

CLASSES = ClassConfig()


def simulate(num_samples, error_rate, num_questions, seed, concentration=0.3):
    """(drawn, correct among them, true confidence, confidence from all samples) of simulated questions."""
    results = []
    for question in simulate_questions(num_questions, num_samples, seed, concentration):
        drawn = replay(question.texts, question.correct, question.token_logprobs, CLASSES, error_rate)
        results.append((drawn, sum(question.correct[:drawn]), question.confidence, np.mean(question.correct)))
    return results


@pytest.mark.parametrize("concentration", [0.1, 0.3, 2.0])
@pytest.mark.parametrize("error_rate", [0.01, 0.05, 0.2])
def test_the_error_stays_at_its_stated_level_whatever_the_model_knows(error_rate, concentration):
    results = simulate(10, error_rate, 3000, seed=0, concentration=concentration)
    wrong = [
        classify(correct / drawn, None, CLASSES) != classify(full, None, CLASSES)
        for drawn, correct, _, full in results
        if drawn < 10
    ]
    margin = 3 * math.sqrt(error_rate / len(wrong))  # three standard errors of the simulation itself
    assert len(wrong) > 1000 and np.mean(wrong) <= error_rate + margin


def test_half_the_samples_are_saved_where_the_model_is_sure():
    results = simulate(10, 0.05, 3000, seed=1, concentration=0.05)
    assert sum(drawn for drawn, *_ in results) < 0.5 * 10 * len(results)


@pytest.mark.parametrize("concentration", [0.05, 0.3])
def test_the_bias_is_what_the_module_states(concentration):
    results = simulate(10, 0.05, 6000, seed=2, concentration=concentration)
    p = np.array([truth for _, _, truth, _ in results])
    gaps = np.array([correct / drawn - truth for drawn, correct, truth, _ in results])
    assert abs(gaps.mean()) < 0.01
    for tenth in range(10):
        assert abs(gaps[(p >= tenth / 10) & (p <= (tenth + 1) / 10)].mean()) < 0.1


def test_bounds_hold_the_truth_and_close_as_replies_are_seen():
    assert confidence_bounds([], [], []) == (0.0, 1.0)
    half, fifth = [math.log(0.5)], [math.log(0.4), math.log(0.5)]
    assert confidence_bounds(["a"], [True], [half]) == (0.5, 1.0)
    assert confidence_bounds(["a", "b", "a"], [True, False, True], [half, fifth, half]) == pytest.approx((0.5, 0.8))
    # two token sequences of one text: the likelier one counts, and the interval stays an honest one
    assert confidence_bounds(["a", "a"], [True, True], [fifth, half]) == (0.5, 1.0)
    # rounding may push a sum over 1
    assert confidence_bounds(["a", "b"], [True, False], [[1e-7], [math.log(0.1)]]) == pytest.approx((1.0, 1.0))


def test_the_error_bound_is_the_worst_of_its_interval():
    for drawn, correct in ((1, 1), (3, 0), (4, 2), (6, 5)):
        for bounds in ((0.0, 1.0), (0.2, 0.6), (0.85, 0.9), (0.45, 0.55)):
            inside = [error_bound(drawn, correct, (p, p), 10, CLASSES) for p in np.linspace(*bounds, 41)]
            assert error_bound(drawn, correct, bounds, 10, CLASSES) == pytest.approx(max(inside))


def test_what_n_samples_cannot_undo_is_decided():
    assert error_bound(8, 8, (0.0, 1.0), 10, CLASSES) == 0
    assert error_bound(7, 0, (0.0, 1.0), 10, CLASSES) == 0
    assert next_round(7, 0, (0.0, 1.0), 10, CLASSES, 0.01) == 0
    assert next_round(6, 6, (0.0, 1.0), 10, CLASSES, 0.01) > 0
    assert next_round(10, 5, (0.0, 1.0), 10, CLASSES, 0.01) == 0


def test_an_unanswerable_question_gets_its_few_samples_and_others_the_test():
    rounds = AdaptiveRounds(SamplingConfig(adaptive=AdaptiveConfig(num_undoubted=3)), CLASSES)
    row = Question("d:s:1", "d", "s", [], "What?", "open", ["cat"]).to_row()

    def samples(*texts, probability=0.97):
        return Reply(list(texts), [[math.log(probability)]] * len(texts))

    assert rounds.num_more(row | {"answerable": False}, samples()) == 3
    assert rounds.num_more(row | {"answerable": False}, samples("a", "b", "c")) == 0
    assert rounds.num_more(row, samples()) == 1
    assert rounds.num_more(row, samples("cat")) == 0
    assert rounds.num_more(row, samples("cat", probability=0.6)) == 1


def test_another_temperature_than_1_is_refused():
    with pytest.raises(ValueError, match="needs temperature 1, found 0.7"):
        SamplingConfig(adaptive=AdaptiveConfig(), temperature=0.7)
