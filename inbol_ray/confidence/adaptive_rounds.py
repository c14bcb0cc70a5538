"""Adaptive sampling under way: a question's samples so far -> how many to draw next (the test is `method.stopping`)."""

from collections.abc import Mapping
from dataclasses import dataclass

from inbol_ray.config.sampling import ClassConfig, SamplingConfig, ScoringRules
from inbol_ray.method.stopping import confidence_bounds, next_round
from inbol_ray.rows import Question
from inbol_ray.sampling.vllm_engine import Reply
from inbol_ray.scoring.outcome import judge_reply, prepare_verdicts


@dataclass(frozen=True)
class AdaptiveRounds:
    """`generate.Rounds` for confidence: judges the samples of a question and applies the test.

    A question that its corpus marks as unanswerable is Unknown whatever the model says, so it gets
    `num_undoubted` samples: enough for an incorrect response.
    """

    sampling: SamplingConfig
    classes: ClassConfig
    scoring: ScoringRules = ScoringRules()

    def num_more(self, row: Mapping, reply: Reply) -> int:
        """Samples to draw next; 0 ends the question."""
        question, num_drawn = Question.from_row(row), len(reply.texts)
        if question.answerable is False:
            return min(self.sampling.adaptive.num_undoubted, self.sampling.num_samples) - num_drawn
        prepare_verdicts((text, question) for text in reply.texts)
        correct = [
            judge_reply(text, question, self.sampling.correct_threshold, self.scoring).kind == "correct"
            for text in reply.texts
        ]
        bounds = confidence_bounds(reply.texts, correct, reply.token_logprobs)
        return next_round(
            num_drawn, sum(correct), bounds, self.sampling.num_samples, self.classes, self.sampling.adaptive.error_rate
        )
