"""What a reply is worth: reply, Question -> Outcome (correct, wrong, refused or error)."""

from dataclasses import dataclass

from inbol_ray.config.sampling import ScoringConfig
from inbol_ray.rows import OutcomeKind, Question
from inbol_ray.scoring.answer_match import OURS, is_unparsed, score_answer
from inbol_ray.scoring.refusal import detect_refusal


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
"""For a question that no reply came back to, or an empty one: saying nothing is no refusal."""
_REFUSED = Outcome("refused", 0.0, False)


def judge_reply(
    reply: str, question: Question, correct_threshold: float = 0.5, scoring: ScoringConfig = OURS
) -> Outcome:
    """Judge a reply: refusal first, on the raw reply; only then is an answer parsed and scored.

    A refusal scores 0 and reaches no option parser. On a question marked as unanswerable every other reply is wrong,
    even one that human answers hold. Elsewhere a score of at least `correct_threshold`, in (0, 1], is correct.

    Raises DataError where the question lacks the reference that its `answer_kind` needs.
    Source: InBoL (arXiv 2412.11196) Sec. 4, correct / refused / incorrect; threshold and order ours.
    """
    if not reply.strip():
        return NO_REPLY
    if detect_refusal(reply, question).refused:
        return _REFUSED
    return judge_answer(reply, question, correct_threshold, scoring)


def judge_answer(
    reply: str, question: Question, correct_threshold: float = 0.5, scoring: ScoringConfig = OURS
) -> Outcome:
    """Judge a reply that does not refuse, as `judge_reply` does. Raises DataError as it does."""
    if question.answerable is False:
        return Outcome("wrong", 0.0, is_unparsed(reply, question, scoring))
    score, unparsed = score_answer(reply, question, scoring)
    return Outcome("correct" if score >= correct_threshold else "wrong", score, unparsed)
