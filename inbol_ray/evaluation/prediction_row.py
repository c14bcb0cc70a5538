"""A question of a benchmark and a model's reply to it -> a judged PREDICTION row."""

import json
from collections.abc import Mapping
from typing import NamedTuple, get_args

from inbol_ray.config.sampling import Rule, ScoringRules
from inbol_ray.corpora.breakdown import question_classes, question_group, question_pair
from inbol_ray.rows import Question
from inbol_ray.sampling.vllm_engine import Finish
from inbol_ray.scoring.outcome import NO_REPLY, REFUSED, Outcome, judge_reply


class GreedyReply(NamedTuple):
    """The text of a reply; where there is none, `reason` (a slug) and `detail` say why.

    `finish` and the numbers of tokens are known where a server tells them. `confidence` is the chance in [0, 1] that
    the reply is right: what its file says, or of an endpoint's reply the length-normalised probability, exp(mean token
    log-probability).
    """

    text: str
    reason: str = ""
    detail: str = ""
    finish: Finish = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    confidence: float | None = None


class Rules(NamedTuple):
    """What decides whether a reply is right: `sampling.correct_threshold` and `scoring` of a configuration."""

    correct_threshold: float
    scoring: ScoringRules


def judge_row(row: Mapping, reply: GreedyReply, *, method: str, checkpoint: str, seed: int, rules: Rules) -> dict:
    """A PREDICTION row, without the base model's confidence. `row` is a BENCHMARK_QUESTION.

    A question without a reply has the outcome `error`, and its `response` says why.
    """
    question = Question.from_row(row)
    outcome, by_rule = NO_REPLY, dict.fromkeys(get_args(Rule), NO_REPLY.kind)
    if reply.finish == "refusal":  # the server says so itself, in words or without
        outcome, by_rule = REFUSED, dict.fromkeys(by_rule, REFUSED.kind)
    elif not reply.reason:
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
        # Of a refusal, or of no reply, it says nothing about being right.
        "confidence": reply.confidence if outcome.kind in ("correct", "wrong") else None,
        "by_rule": by_rule,
    }


def _judge_by(rule: Rule, reply: str, question: Question, rules: Rules) -> Outcome:
    return judge_reply(reply, question, rules.correct_threshold, rules.scoring.model_copy(update={"rules": rule}))
