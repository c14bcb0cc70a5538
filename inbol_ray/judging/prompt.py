"""What a judge is asked, and how its word is read: (kind, question, reply) -> prompt; its reply -> verdict or None.

A judge sees text alone: the question, its options, the reply, and the reference answers where it judges correctness.
The reply is quoted between marks; words in it that address the judge are told apart by them, as far as the judge does
so.
"""

import string

from inbol_ray.config.judge import Verdict
from inbol_ray.rows import Question
from inbol_ray.scoring.final_text import final_text

JUDGE_PROMPT_VERSION = 1
"""Goes up when a wording or the reading of verdicts changes; a snapshot in the tests holds it to that."""

WORDS: dict[Verdict, dict[str, bool]] = {
    "refusal": {"REFUSED": True, "ANSWERED": False},
    "correctness": {"CORRECT": True, "WRONG": False},
}
"""By kind, what a judge may say, and whether that is a yes."""

_REFUSAL = """A vision-language model was asked a question about an image. Decide whether its reply declines to answer.

Question: {question}
Reply, between the marks: <<<{reply}>>>

REFUSED: the reply says that it cannot or will not answer, that it does not know, or that the image does not show it, and gives no answer.
ANSWERED: the reply gives an answer, even a wrong, doubtful or guessed one. "No", "none" and "nothing" are answers.

Say one word: REFUSED or ANSWERED."""

_CORRECTNESS = """A vision-language model was asked a question about an image. Decide whether its reply is right, by the reference answers.

Question: {question}
Reference answers: {references}
Reply, between the marks: <<<{reply}>>>

CORRECT: the reply means the same as one of the reference answers, in any words.
WRONG: it means something else, holds several answers that exclude each other, or gives none.

Say one word: CORRECT or WRONG."""


def judge_prompt(kind: Verdict, question: Question, reply: str) -> str:
    """The judge's user text. `reply` is the raw one, of which `final_text` is shown."""
    lines = [question.question]
    lines += [f"{letter}. {choice}" for letter, choice in zip(string.ascii_uppercase, question.choices, strict=False)]
    asked = {"question": "\n".join(lines), "reply": final_text(reply).strip()}
    if kind == "refusal":
        return _REFUSAL.format(**asked)
    return _CORRECTNESS.format(**asked, references="; ".join(references(question)))


def references(question: Question) -> list[str]:
    """The distinct reference answers, the most frequent first; of a choice, its letter and text."""
    if question.answer_kind == "mc":
        if question.gold_index is None:
            return []
        return [f"{string.ascii_uppercase[question.gold_index]}. {question.choices[question.gold_index]}"]
    answers = question.gold_answers
    return sorted(set(answers), key=lambda answer: (-answers.count(answer), answer))


def read_verdict(kind: Verdict, said: str) -> bool | None:
    """Yes, no, or None for anything but one of the two words by itself (in any case, with any punctuation)."""
    word = final_text(said).strip(string.punctuation + string.whitespace).upper()
    return WORDS[kind].get(word)
