"""What a reply is worth: reply, Question -> Outcome (correct, wrong, refused or error)."""

from collections.abc import Iterable
from dataclasses import dataclass

from inbol_ray.config.sampling import ScoringRules
from inbol_ray.rows import OutcomeKind, Question
from inbol_ray.scoring.answer_match import OURS, is_unparsed, score_answer
from inbol_ray.scoring.declared import names_masked_answer, refuses
from inbol_ray.scoring.final_text import final_text
from inbol_ray.scoring.refusal import detect_refusals

SCORING_VERSION = 1
"""Raised when some reply is judged in another way: rules, parsers or the refusal detector."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The verdict on one reply.

    `score` is the metric's value in [0, 1], which may lie between for VQA accuracy; `unparsed` marks a wrong reply that
    names no choice.
    """

    kind: OutcomeKind
    score: float
    unparsed: bool


NO_REPLY = Outcome("error", 0.0, False)
"""For a question that no reply came back to, or one that is empty or only thought: saying nothing is no refusal."""
REFUSED = Outcome("refused", 0.0, False)


def prepare_verdicts(replies: Iterable[tuple[str, Question]]) -> None:
    """Have the refusal detector read many replies together, each with its question, in a tenth of the time that they take one
    by one; `judge_reply` finds what it said of them."""
    pairs = [(final_text(reply), question) for reply, question in replies]
    detect_refusals([reply for reply, _ in pairs], [question for _, question in pairs])


def judge_reply(
    reply: str, question: Question, correct_threshold: float = 0.5, scoring: ScoringRules = OURS
) -> Outcome:
    """Judge what a reply says (`final_text`): refusal first, on the raw text; only then is an answer parsed and scored.

    A model's thinking is no part of its reply, under official rules too: their authors judged models without it. A
    refusal scores 0 and reaches no option parser; what refuses beside plain words, such as an option, the benchmark
    declares (`scoring.declared`). On a question marked as unanswerable every other reply is wrong, even one that human
    answers hold, but for the right answer where its options were robbed of it. Elsewhere a score of at least
    `correct_threshold`, in (0, 1], is correct.

    Raises DataError where the question lacks the reference that its `answer_kind` needs.
    Source: InBoL (arXiv 2412.11196) Sec. 4, correct / refused / incorrect; threshold and order ours.
    """
    reply = final_text(reply)
    if not reply.strip():
        return NO_REPLY
    if refuses(reply, question):
        return REFUSED
    return judge_answer(reply, question, correct_threshold, scoring)


def judge_answer(
    reply: str, question: Question, correct_threshold: float = 0.5, scoring: ScoringRules = OURS
) -> Outcome:
    """Judge what a reply says (`final_text`) that does not refuse, as `judge_reply` does. Raises DataError as it
    does."""
    if question.answerable is False:
        if names_masked_answer(reply, question):
            return Outcome("correct", 1.0, False)
        return Outcome("wrong", 0.0, is_unparsed(reply, question, scoring))
    score, unparsed = score_answer(reply, question, scoring)
    return Outcome("correct" if score >= correct_threshold else "wrong", score, unparsed)
