"""Adaptive sampling: draw a question's samples one after another until they decide its class.

(samples so far n, correct among them c) -> how many to draw next

**The test.** N = `num_samples` samples would give a class. A stopping state (n, c) is one where we take the class that
they would most probably give, and stop. Its risk is the probability that N samples would give another: with a
Beta(a, b) prior over a question's true confidence p, the N - n samples to come are beta-binomial with a + c and
b + n - c. Of all sets of stopping states, `plan_stopping` takes the one with the fewest expected samples whose expected
risk, over the questions that stop before N, is at most `error_rate` (a Lagrange multiplier, by dynamic programming).

**What is guaranteed.** If true confidences follow the prior, at most `error_rate` of the questions that stop early get
another class than N samples would give. For other populations `error_rate_at` is exact for each p.

**Bias.** The estimate is still c / n, so that it always falls into the decided class. Stopping at extremes pulls it away
from the middle: `bias_at` is exact, and below 0.035 for every p with the default settings. Among Mixed questions, which
are what CA-DPO weighs by confidence, stops before N are central ones, so that the expected weight lies nearer to 1/2
than with fixed N, by less than 0.05. Fixed N is unbiased over all questions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import comb, exp, lgamma

from inbol_ray.confidence.classes import classify
from inbol_ray.config.schema import AdaptiveConfig, ClassConfig, SamplingConfig
from inbol_ray.rows import Knowledge, Question
from inbol_ray.scoring.outcome import judge_reply

State = tuple[int, int]
"""(samples drawn, correct among them)"""


@dataclass(frozen=True)
class StoppingPlan:
    """Where to stop, of up to `num_samples` samples. `stops` holds the decided class of every stopping state."""

    num_samples: int
    stops: Mapping[State, Knowledge]

    def num_more(self, num_drawn: int, num_correct: int) -> int:
        """Samples until the nearest stopping state that may come; 0 in one."""
        for more in range(self.num_samples - num_drawn + 1):
            if any((num_drawn + more, num_correct + hits) in self.stops for hits in range(more + 1)):
                return more
        raise AssertionError("every path ends at num_samples")

    def reach(self, p: float) -> dict[State, float]:
        """Probability that a question of true confidence p stops in each stopping state."""
        return _reach(self.num_samples, self.stops, lambda _n, _c: p)

    def expected_samples(self, p: float) -> float:
        return sum(weight * n for (n, _), weight in self.reach(p).items())

    def error_rate_at(self, p: float, classes: ClassConfig) -> float:
        """Among questions of true confidence p that stop early, the share that N samples would class otherwise."""
        early = {state: weight for state, weight in self.reach(p).items() if state[0] < self.num_samples}
        wrong = 0.0
        for (n, c), weight in early.items():
            left = self.num_samples - n
            for hits in range(left + 1):
                if classify((c + hits) / self.num_samples, None, classes) != self.stops[n, c]:
                    wrong += weight * comb(left, hits) * p**hits * (1 - p) ** (left - hits)
        return wrong / sum(early.values()) if early else 0.0

    def bias_at(self, p: float) -> float:
        """E[c / n] - p at true confidence p."""
        return sum(weight * c / n for (n, c), weight in self.reach(p).items()) - p


def plan_stopping(num_samples: int, classes: ClassConfig, adaptive: AdaptiveConfig) -> StoppingPlan:
    """The cheapest plan whose error under the prior is at most `adaptive.error_rate`; see the module for the test."""
    a, b = adaptive.prior
    risks = {
        (n, c): _risk(n, c, num_samples, classes, a, b) for n in range(1, num_samples) for c in range(n + 1)
    }
    end = {(num_samples, c): classify(c / num_samples, None, classes) for c in range(num_samples + 1)}

    def hit(n: int, c: int) -> float:
        return (a + c) / (a + b + n)

    def plan(price: float) -> dict[State, Knowledge]:
        """The best plan where a wrong class costs as much as `price` samples."""
        stops: dict[State, Knowledge] = dict(end)
        cost = dict.fromkeys(end, 0.0)
        for n in range(num_samples - 1, 0, -1):
            for c in range(n + 1):
                go_on = 1 + hit(n, c) * cost[n + 1, c + 1] + (1 - hit(n, c)) * cost[n + 1, c]
                decided, risk = risks[n, c]
                # c / n is what is stored: where it belongs to another class than the probable one, go on.
                stop = price * risk if classify(c / n, None, classes) == decided else float("inf")
                cost[n, c] = min(stop, go_on)
                if stop <= go_on:
                    stops[n, c] = decided
        return stops

    def error(stops: Mapping[State, Knowledge]) -> float:
        early = {s: w for s, w in _reach(num_samples, stops, hit).items() if s[0] < num_samples}
        return sum(w * risks[s][1] for s, w in early.items()) / sum(early.values()) if early else 0.0

    # The error falls as its price rises; prices beyond the last make no difference for rates above 1e-6.
    price = next((price for k in range(140) if error(plan(price := 1.1**k)) <= adaptive.error_rate), 1e9)
    return StoppingPlan(num_samples, plan(price))


@dataclass(frozen=True)
class AdaptiveRounds:
    """`generate.Rounds` for confidence: judges the samples of a question and asks the plan.

    A question that its corpus marks as unanswerable is Unknown whatever the model says, so it gets
    `num_undoubted` samples: enough for an incorrect response.
    """

    sampling: SamplingConfig
    classes: ClassConfig

    @cached_property
    def plan(self) -> StoppingPlan:
        return plan_stopping(self.sampling.num_samples, self.classes, self.sampling.adaptive)

    def num_more(self, row: Mapping, texts: Sequence[str]) -> int:
        question = Question.from_row(row)
        if question.answerable is False:
            return min(self.sampling.adaptive.num_undoubted, self.sampling.num_samples) - len(texts)
        outcomes = (judge_reply(text, question, self.sampling.correct_threshold) for text in texts)
        return self.plan.num_more(len(texts), sum(outcome.kind == "correct" for outcome in outcomes))


def _risk(n: int, c: int, total: int, classes: ClassConfig, a: float, b: float) -> tuple[Knowledge, float]:
    """(class that `total` samples most probably give after c correct of n, probability that they give another)."""
    left = total - n
    mass: dict[Knowledge, float] = {"known": 0.0, "mixed": 0.0, "unknown": 0.0}
    for hits in range(left + 1):
        log_odds = _log_beta(a + c + hits, b + n - c + left - hits) - _log_beta(a + c, b + n - c)
        mass[classify((c + hits) / total, None, classes)] += comb(left, hits) * exp(log_odds)
    decided = max(mass, key=mass.__getitem__)
    return decided, max(0.0, 1 - mass[decided])


def _reach(total: int, stops: Mapping[State, Knowledge], hit) -> dict[State, float]:
    """Probability of ending in each stopping state; `hit(n, c)` is that of a correct sample next."""
    ends: dict[State, float] = {}
    open_states: dict[State, float] = {(0, 0): 1.0}
    for n in range(total + 1):
        for c in range(n + 1):
            weight = open_states.pop((n, c), 0.0)
            if (n, c) in stops:
                ends[n, c] = weight
            elif weight:
                p = hit(n, c)
                open_states[n + 1, c + 1] = open_states.get((n + 1, c + 1), 0.0) + weight * p
                open_states[n + 1, c] = open_states.get((n + 1, c), 0.0) + weight * (1 - p)
    return ends


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)
