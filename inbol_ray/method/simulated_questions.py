"""Models whose true confidence is known, to hold the sequential test against.

A simulated question has a few replies with Dirichlet-distributed probabilities, each right or wrong by the toss of a
coin that is itself drawn for the question. A low concentration is a sure model, a high one a guessing one.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

NUM_REPLIES = 12


@dataclass(frozen=True)
class SimulatedQuestion:
    """`confidence` is the probability that a sample is correct; the others have an entry a sample."""

    confidence: float
    texts: list[str]
    correct: list[bool]
    token_logprobs: list[list[float]]


def simulate_questions(count: int, num_samples: int, seed: int, concentration: float) -> Iterator[SimulatedQuestion]:
    """`count` questions with `num_samples` samples each."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        probabilities = rng.dirichlet(np.full(NUM_REPLIES, concentration))
        right = rng.random(NUM_REPLIES) < rng.random()
        draws = rng.choice(NUM_REPLIES, num_samples, p=probabilities)
        yield SimulatedQuestion(
            confidence=float(probabilities[right].sum()),
            texts=[str(draw) for draw in draws],
            correct=[bool(right[draw]) for draw in draws],
            token_logprobs=[[math.log(probabilities[draw])] for draw in draws],
        )
