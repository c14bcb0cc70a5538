"""MMMU's rule for open answers: reply, accepted answers -> bool.

A reply is cut down to the tails that may hold the answer (`... so the result is 4.5`), and every number in them is
tried as well. The rule is generous by design: a tail that *contains* an accepted text is right.

Source: MMMU eval_utils.py (parse_open_response, eval_open), its quirks included.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

_INDICATORS = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
_EQUALS = "="  # on the last line a reply may be one equation
_LONE_MARKS = frozenset({":", ",", ".", "!", "?", ";", "'"})
_NUMBERS = (
    re.compile(r"-?\b\d{1,3}(?:,\d{3})+\b"),  # 1,000
    re.compile(r"-?\d+(?:\.\d+)?[eE][+-]?\d+"),  # 1.5e3
    re.compile(r"-?(?:\d+\.\d+|\.\d+|\d+\b)(?![eE][+-]?\d+)(?![,\d])"),  # -3.5
)


def mmmu_open_match(reply: str, gold_answers: Sequence[str]) -> bool:
    """Whether a text found in the reply contains an accepted text, or a number in it equals an accepted number."""
    gold = _gold_forms(tuple(gold_answers))
    texts = [text for text in gold if isinstance(text, str)]
    numbers = [number for number in gold if isinstance(number, float)]
    return any(
        said in numbers if isinstance(said, float) else any(text in said for text in texts)
        for said in read_open_answer(reply)
    )


def read_open_answer(reply: str) -> list[str | float]:
    """What a reply may mean, texts in lower case and numbers rounded to two digits, in order of appearance."""
    tails = _answer_tails(reply)
    found = [*tails, *(number for tail in tails for pattern in _NUMBERS for number in pattern.findall(tail))]
    return [form for text in found for form in _forms(text)]


def _answer_tails(reply: str) -> list[str]:
    reply = reply.strip().strip(".").lower()
    # The published split at `. ` before a capital never happens, since the reply is in lower case by now.
    lines = reply.split("\n")
    tails = []
    for number, line in enumerate(lines, start=1):
        shortest = ""
        for indicator in (*_INDICATORS, _EQUALS) if number == len(lines) else _INDICATORS:
            if indicator in line:
                tail = line.rpartition(indicator)[2].strip()
                # An empty tail counts as the shortest until the next indicator replaces it.
                if not shortest or len(tail) < len(shortest):
                    shortest = tail
        if shortest and shortest not in _LONE_MARKS:
            tails.append(shortest)
    return tails or [reply]


def _forms(text: str) -> list[str | float]:
    """A number as a float; a text in lower case, one character padded on either side so that it is no trivial hit."""
    text = text.strip()
    try:
        return [round(float(text.replace(",", "")), 2)]
    except ValueError:
        text = text.lower()
    return [f" {text}", f"{text} "] if len(text) == 1 else [text]


@lru_cache(maxsize=1 << 14)
def _gold_forms(gold_answers: tuple[str, ...]) -> tuple[str | float, ...]:
    return tuple(form for answer in gold_answers for form in _forms(answer))
