"""Which option does a reply name? Pure functions: reply, options -> index, or None where it names none (unparsed).

Where a published parser draws a random letter or asks a judge model, ours returns None: a reply without a readable
choice is wrong and counted, never a lucky hit. `union` is ours and the default; results name the parser they used.
"""

import re
import string
from collections.abc import Callable, Sequence
from typing import Literal

ChoiceParser = Literal["union", "llava", "mmmu", "mmbench"]

_LETTERS = string.ascii_uppercase
# `D.C.` or `A.M.` at the start is no choice, hence the look-ahead.
_LEADING_LETTER = re.compile(r"\(([A-Z])\)|([A-Z])(?:\.(?!\w\.)|[):])")
_LETTER_ALONE = re.compile(r"\(?([A-Za-z])[.):]{0,2}\s*")
_ANSWER_IS = re.compile(r"\b(?i:answer\s+is)\s*:?\s*\(?([A-Z])\b(?!')")


def parse_choice(reply: str, choices: Sequence[str], parser: ChoiceParser = "union") -> int | None:
    """Index of the choice that a reply names by the rule of `parser`, or None. Source: see the parsers below."""
    return _PARSERS[parser](reply, choices)


def parse_union(reply: str, choices: Sequence[str]) -> int | None:
    """Ours. In this order: a letter alone in any case; a leading `(B)`, `B.`, `B)` or `B:`; one `answer is B`; the text
    of exactly one choice in any case, final periods aside.

    Source: ours (union of LLaVA eval_science_qa.py and lmms-eval scienceqa).
    """
    if (index := leading_choice(reply, choices)) is not None:
        return index
    letters = set(_ANSWER_IS.findall(reply))
    return _in_range(letters.pop(), choices) if len(letters) == 1 else None


def leading_choice(reply: str, choices: Sequence[str]) -> int | None:
    """Index of the choice that a reply opens with, by letter, or consists of, by text; None for neither."""
    reply = reply.strip()
    if alone := _LETTER_ALONE.fullmatch(reply):
        letter = alone[1].upper()
    elif leading := _LEADING_LETTER.match(reply):
        letter = leading[1] or leading[2]
    else:
        letter = None
    if (index := _in_range(letter, choices)) is not None:
        return index
    text = _fold(reply)
    same = [index for index, choice in enumerate(choices) if _fold(choice) == text]
    return same[0] if len(same) == 1 and text else None


_LLAVA_LETTERS = "ABCDE"
_LLAVA_ANSWER_IS = re.compile(r"The answer is ([A-Z]).")


def parse_llava(reply: str, choices: Sequence[str]) -> int | None:
    """LLaVA's ScienceQA rule: the unstripped reply is a letter A to E, opens with `B. `, or has one `The answer is B.`.

    Source: LLaVA eval_science_qa.py.
    """
    if len(reply) == 1 and reply in _LLAVA_LETTERS:
        return _in_range(reply, choices)
    if len(reply) >= 3 and reply[0] in _LLAVA_LETTERS and reply[1:3] == ". ":
        return _in_range(reply[0], choices)
    letters = _LLAVA_ANSWER_IS.findall(reply)
    return _in_range(letters[0], choices) if len(letters) == 1 and letters[0] in _LLAVA_LETTERS else None


_MMMU_STRIPPED = ",.!?;:'"
_MMMU_MIN_WORDS = 5


def parse_mmmu(reply: str, choices: Sequence[str]) -> int | None:
    """MMMU's rule: a bracketed letter, else a letter between blanks, else, in more than five words, an option's text.

    Of several the one that occurs last; the article of `A man ...` is option A, as it is for MMMU.
    Source: MMMU eval_utils.py (parse_multi_choice_response) without its random letter.
    """
    for mark in _MMMU_STRIPPED:
        reply = reply.strip(mark)
    reply = f" {reply} "
    letters = _LETTERS[: len(choices)]
    for form in ("({})", " {} "):
        places = [reply.rfind(form.format(letter)) for letter in letters]
        if max(places, default=-1) >= 0:
            return places.index(max(places))
    if len(reply.split()) > _MMMU_MIN_WORDS:
        places = [reply.lower().rfind(choice.lower()) for choice in choices]
        if max(places, default=-1) >= 0:
            return places.index(max(places))
    return None


_MMBENCH_REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)
_MMBENCH_BLANKED = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))
_MMBENCH_LAST_WORDS = 4
_MMBENCH_ANSWER_IS = re.compile(r"answer\s+is\s+\**([ABCD])", re.IGNORECASE)


def parse_mmbench(reply: str, choices: Sequence[str]) -> int | None:
    """MMBench's rule: one option letter whose first place is among the last four words; `answer is X` with X from A to D
    in any case, even as the start of a word; else the one option whose text the reply holds, if the reply is at most
    twice as long as all options together.

    Source: VLMEvalKit matching_util.py (can_infer) without its judge model and random letter; its letter Z is None.
    """
    if any(refusal in reply for refusal in _MMBENCH_REFUSALS):
        return None
    words = reply.translate(_MMBENCH_BLANKED).split()
    letters = [letter for letter in _LETTERS[: len(choices)] if letter in words]
    if len(letters) == 1 and words.index(letters[0]) >= len(words) - _MMBENCH_LAST_WORDS:
        return _in_range(letters[0], choices)
    if not letters and "Z" in words:
        return None
    if (named := _MMBENCH_ANSWER_IS.search(reply)) and (index := _in_range(named[1].upper(), choices)) is not None:
        return index
    folded = reply.lower()
    if len(folded) > 2 * sum(map(len, choices)):
        return None
    held = [index for index, choice in enumerate(choices) if choice.lower() in folded]
    return held[0] if len(held) == 1 else None


_PARSERS: dict[str, Callable[[str, Sequence[str]], int | None]] = {
    "union": parse_union,
    "llava": parse_llava,
    "mmmu": parse_mmmu,
    "mmbench": parse_mmbench,
}


def _in_range(letter: str | None, choices: Sequence[str]) -> int | None:
    index = _LETTERS.find(letter) if letter else -1
    return index if 0 <= index < len(choices) else None


def _fold(text: str) -> str:
    return text.strip().rstrip(".").casefold()
