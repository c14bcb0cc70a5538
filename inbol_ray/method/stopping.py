"""Adaptive sampling: draw a question's samples one after another until they decide its class.

samples so far, with outcomes and log-probabilities -> how many to draw next

**The test.** N = `num_samples` samples would give a class. At temperature 1 a sample's log-probability is that of being
drawn, so the distinct samples so far bound the true confidence p: it is at least the total probability A of those that
are correct, and at most 1 - B for those, of total probability B, that are not. With c of n samples correct, the number
correct of N is c plus a binomial draw of N - n with p. Sampling stops as soon as, for every p in [A, 1 - B], another
class than that of c / n has a probability of at most `error_rate`.

**What is guaranteed.** Whatever the model knows: of questions that stop before N, at most `error_rate` get another class
than N samples would have given them, in expectation. No prior is assumed. (The log-probabilities must be those that the
engine samples by; distinct replies of one text count once, which only widens the interval.)

**Bias.** The stored estimate stays c / n, so that it always falls into the decided class. It is pulled to the extremes by
stopping there, most just outside them: on simulated models the mean of c / n - p is below 0.01 over all questions and
below 0.1 in every tenth of p. CA-DPO weighs only Mixed questions by confidence: on toy worlds their mean weight is above
that of ten samples by 0.004 to 0.007, and a single one differs by 0.04 on average. Fixed N has no bias. `make
bench-adaptive` measures all of it.
"""

import math
from collections.abc import Sequence
from math import comb

from inbol_ray.config.sampling import AdaptiveConfig, ClassConfig
from inbol_ray.method.classes import DEFAULT_CLASSES, classify
from inbol_ray.rows import Knowledge

DEFAULT_ERROR_RATE = AdaptiveConfig().error_rate


def next_round(
    num_drawn: int,
    num_correct: int,
    bounds: tuple[float, float],
    num_samples: int,
    classes: ClassConfig = DEFAULT_CLASSES,
    error_rate: float = DEFAULT_ERROR_RATE,
) -> int:
    """0 where the test decides or all samples are drawn, else 1: rounds cost little, and samples are what is saved."""
    if num_drawn == num_samples:
        return 0
    decides = num_drawn and error_bound(num_drawn, num_correct, bounds, num_samples, classes) <= error_rate
    return 0 if decides else 1


def replay(
    texts: Sequence[str],
    correct: Sequence[bool],
    token_logprobs: Sequence[Sequence[float]],
    classes: ClassConfig = DEFAULT_CLASSES,
    error_rate: float = DEFAULT_ERROR_RATE,
) -> int:
    """How many of these N samples the test would have drawn, had they come in this order."""
    drawn = 0
    while True:
        bounds = confidence_bounds(texts[:drawn], correct[:drawn], token_logprobs[:drawn])
        more = next_round(drawn, sum(correct[:drawn]), bounds, len(texts), classes, error_rate)
        if not more:
            return drawn
        drawn += more


def confidence_bounds(
    texts: Sequence[str], correct: Sequence[bool], token_logprobs: Sequence[Sequence[float]]
) -> tuple[float, float]:
    """(lower, upper) bound of a question's true confidence, from the probabilities of its distinct samples."""
    probabilities: dict[str, tuple[float, bool]] = {}
    for text, is_correct, logprobs in zip(texts, correct, token_logprobs, strict=True):
        probability = math.exp(sum(logprobs))
        if probability > probabilities.get(text, (0.0, False))[0]:
            probabilities[text] = (probability, is_correct)
    right = math.fsum(probability for probability, is_correct in probabilities.values() if is_correct)
    wrong = math.fsum(probability for probability, is_correct in probabilities.values() if not is_correct)
    lower = min(1.0, right)
    return lower, max(lower, 1 - min(1.0, wrong))


def error_bound(
    num_drawn: int,
    num_correct: int,
    bounds: tuple[float, float],
    num_samples: int,
    classes: ClassConfig = DEFAULT_CLASSES,
) -> float:
    """Largest probability, over true confidences within `bounds`, that `num_samples` give another class than c / n.

    The class is an interval of counts, so its probability is unimodal in p and least at an end of the bounds.
    """
    decided = classify(num_correct / num_drawn, None, classes)
    return max(_risk(num_drawn, num_correct, p, decided, num_samples, classes) for p in bounds)


def _risk(n: int, c: int, p: float, decided: Knowledge, total: int, classes: ClassConfig) -> float:
    left = total - n
    return sum(
        comb(left, hits) * p**hits * (1 - p) ** (left - hits)
        for hits in range(left + 1)
        if classify((c + hits) / total, None, classes) != decided
    )
