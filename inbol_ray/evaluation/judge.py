"""A question of a benchmark and a model's reply to it -> a judged PREDICTION row."""

import json
from collections.abc import Mapping
from typing import NamedTuple, get_args

from inbol_ray.config.sampling import Rule, ScoringConfig
from inbol_ray.corpora.breakdown import question_classes, question_group, question_pair
from inbol_ray.rows import Question
from inbol_ray.scoring.outcome import NO_REPLY, Outcome, judge_reply


class GreedyReply(NamedTuple):
    """The text of a reply; where there is none, `reason` (a slug) and `detail` say why."""

    text: str
    reason: str
    detail: str


class Rules(NamedTuple):
    """What decides whether a reply is right: `sampling.correct_threshold` and `scoring` of a configuration."""

    correct_threshold: float
    scoring: ScoringConfig


def judge_row(row: Mapping, reply: GreedyReply, *, method: str, checkpoint: str, seed: int, rules: Rules) -> dict:
    """A PREDICTION row, without confidences. `row` is a question with `benchmark` and `domain` (BENCHMARK_QUESTION).

    A question without a reply has the outcome `error`, and its `response` says why.
    """
    question = Question.from_row(row)
    outcome, by_rule = NO_REPLY, dict.fromkeys(get_args(Rule), NO_REPLY.kind)
    if not reply.reason:
        outcome = judge_reply(reply.text, question, rules.correct_threshold, rules.scoring)
        by_rule = {rule: _judge_by(rule, reply.text, question, rules).kind for rule in by_rule}
    return {
        "id": question.id,
        "group": question_group(question),
        "pair": question_pair(question),
        "benchmark": row["benchmark"],
        "domain": row["domain"],
        "classes": json.dumps(question_classes(question)),
        "method": method,
        "seed": seed,
        "checkpoint": checkpoint,
        "images": question.images,
        "question": question.question,
        "gold_answers": question.choices[question.gold_index : question.gold_index + 1]
        if question.answer_kind == "mc" and question.gold_index is not None
        else sorted(set(question.gold_answers)),
        # A corpus that does not say and has answers is one of answerable questions.
        "answerable": question.answerable is not False,
        "response": reply.detail if reply.reason else reply.text,
        "outcome": outcome.kind,
        "unparsed": outcome.unparsed,
        "score": outcome.score,
        "by_rule": by_rule,
    }


def _judge_by(rule: Rule, reply: str, question: Question, rules: Rules) -> Outcome:
    return judge_reply(reply, question, rules.correct_threshold, rules.scoring.model_copy(update={"rules": rule}))
