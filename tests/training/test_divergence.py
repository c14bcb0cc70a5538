import math

import pytest

from inbol_ray.training.divergence import LossWatch


def look_at(losses, factor=3.0):
    """(step, reason) at which the watch stops, or None."""
    watch = LossWatch(factor, dict(LossWatch.START))
    for step, loss in enumerate(losses):
        if reason := watch.look(loss, 1.0):
            return step, reason
    return None


def test_a_falling_noisy_loss_goes_on():
    assert look_at([2.0 * 0.95**step * (1.5 if step % 3 else 0.5) for step in range(100)]) is None


def test_a_single_peak_goes_on():
    assert look_at([0.7] * 20 + [5.0] + [0.7] * 20) is None


def test_a_loss_that_climbs_stops():
    step, reason = look_at([2.0, 1.0, 0.7] + [0.7] * 30 + [10.0] * 20)
    assert 33 < step < 45 and "above its start (2)" in reason


def test_without_a_factor_only_a_number_that_is_not_finite_stops():
    assert look_at([1.0] + [1e6] * 50, factor=None) is None
    step, reason = look_at([1.0, math.inf], factor=None)
    assert step == 1 and "loss is inf" in reason


@pytest.mark.parametrize("norm", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_stops(norm):
    assert LossWatch(None, dict(LossWatch.START)).look(1.0, norm)


def test_a_resumed_watch_judges_alike():
    losses = [2.0] + [0.5] * 30 + [10.0] * 20
    memory = dict(LossWatch.START)
    for loss in losses[:30]:
        LossWatch(3.0, memory).look(loss, 1.0)
    resumed = LossWatch(3.0, dict(memory))
    stopped = next(step for step, loss in enumerate(losses[30:], 30) if resumed.look(loss, 1.0))
    assert stopped == look_at(losses)[0]
