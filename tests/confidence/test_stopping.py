"""The sequential test: its error by simulation and by enumeration, the estimate's bias, and what it saves."""

import numpy as np
import pytest

from inbol_ray.confidence.classes import classify
from inbol_ray.confidence.stopping import AdaptiveRounds, plan_stopping
from inbol_ray.config.schema import AdaptiveConfig, ClassConfig, SamplingConfig
from inbol_ray.rows import Question

CLASSES = ClassConfig()
DEFAULT = plan_stopping(10, CLASSES, AdaptiveConfig())


def simulate(plan, confidences, rng):
    """(samples drawn, class taken, class of all N, estimate) of questions, sample by sample."""
    results = []
    for p in confidences:
        draws = rng.random(plan.num_samples) < p
        drawn = correct = 0
        while more := plan.num_more(drawn, correct):
            correct += int(draws[drawn : drawn + more].sum())
            drawn += more
        full = classify(draws.mean(), None, CLASSES)
        results.append((drawn, plan.stops[drawn, correct], full, correct / drawn))
    return results


@pytest.mark.parametrize("num_samples", [10, 20])
@pytest.mark.parametrize("error_rate", [0.003, 0.01, 0.05])
def test_the_error_stays_at_its_stated_level(num_samples, error_rate):
    plan = plan_stopping(num_samples, CLASSES, AdaptiveConfig(error_rate=error_rate))
    rng = np.random.default_rng(0)
    results = simulate(plan, rng.beta(0.5, 0.5, 20_000), rng)
    early = [taken != full for drawn, taken, full, _ in results if drawn < num_samples]
    wrong = np.mean(early)
    margin = 3 * np.sqrt(error_rate / len(early))  # three standard errors of the simulation itself
    assert len(early) > 10_000 and wrong <= error_rate + margin
    assert all(taken == full for drawn, taken, full, _ in results if drawn == num_samples)


def test_an_exact_test_errs_never_and_a_lax_one_stops_early():
    exact = plan_stopping(10, CLASSES, AdaptiveConfig(error_rate=1e-9))
    assert all(exact.error_rate_at(p, CLASSES) < 1e-6 for p in np.linspace(0.01, 0.99, 25))
    lax = plan_stopping(10, CLASSES, AdaptiveConfig(error_rate=0.1))
    for p in np.linspace(0.01, 0.99, 25):
        assert lax.expected_samples(p) < exact.expected_samples(p)
        assert exact.expected_samples(p) < 10


def test_the_stored_estimate_always_falls_into_the_decided_class():
    for error_rate in (0.001, 0.01, 0.1, 0.4):
        for num_samples in (5, 10, 16):
            plan = plan_stopping(num_samples, CLASSES, AdaptiveConfig(error_rate=error_rate))
            assert all(classify(c / n, None, CLASSES) == taken for (n, c), taken in plan.stops.items())


def test_the_bias_is_what_the_module_states():
    grid = np.linspace(0, 1, 101)
    biases = np.array([DEFAULT.bias_at(p) for p in grid])
    assert np.abs(biases).max() < 0.035
    assert np.abs(biases + biases[::-1]).max() < 1e-9  # the thresholds are symmetric, and so is the bias
    rng = np.random.default_rng(1)
    for p in (0.1, 0.35, 0.8):
        estimates = [estimate for *_, estimate in simulate(DEFAULT, [p] * 20_000, rng)]
        error = 4 * np.std(estimates) / np.sqrt(len(estimates))
        assert np.mean(estimates) - p == pytest.approx(DEFAULT.bias_at(p), abs=error)


def test_mixed_questions_are_weighed_almost_as_with_fixed_n():
    def expected_weight(plan, p):
        mixed = {s: w for s, w in plan.reach(p).items() if plan.stops[s] == "mixed"}
        return sum(w * c / n for (n, c), w in mixed.items()) / sum(mixed.values())

    fixed = type(DEFAULT)(10, {(10, c): classify(c / 10, None, CLASSES) for c in range(11)})
    for p in np.linspace(0.05, 0.95, 19):
        assert fixed.bias_at(p) == pytest.approx(0, abs=1e-12)
        adaptive, full = expected_weight(DEFAULT, p), expected_weight(fixed, p)
        assert abs(adaptive - full) < 0.05 and abs(adaptive - 0.5) <= abs(full - 0.5) + 1e-9


def test_rounds_never_skip_a_stop_and_end_at_n():
    for drawn in range(10):
        for correct in range(drawn + 1):
            more = DEFAULT.num_more(drawn, correct)
            assert 0 <= more <= 10 - drawn
            for step in range(more):
                assert not any((drawn + step, correct + hits) in DEFAULT.stops for hits in range(step + 1))
    assert DEFAULT.num_more(10, 4) == 0


def test_an_unanswerable_question_gets_its_few_samples_and_others_the_plan():
    rounds = AdaptiveRounds(SamplingConfig(adaptive=AdaptiveConfig(num_undoubted=3)), CLASSES)
    question = Question("d:s:1", "d", "s", [], "What?", "open", ["cat"])
    row = question.to_row()
    assert rounds.num_more(row | {"answerable": False}, []) == 3
    assert rounds.num_more(row | {"answerable": False}, ["a", "b", "c"]) == 0
    first = rounds.num_more(row, [])
    assert first == rounds.plan.num_more(0, 0) > 3
    assert rounds.num_more(row, ["cat"] * first) == 0
    assert rounds.num_more(row, ["cat"] * 3 + ["dog"] * 2) > 0
