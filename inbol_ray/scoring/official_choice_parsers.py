"""The option parsers that benchmarks publish, to the letter: reply, options -> index, or None (unparsed). Pure
functions.

Where they draw a random letter or ask a judge model, these return None.
"""

import re
import string
from collections.abc import Sequence


def index_of(letter: str | None, choices: Sequence[str]) -> int | None:
    """Index of an option's letter (upper case); None where there is no such option."""
    index = string.ascii_uppercase.find(letter) if letter else -1
    return index if 0 <= index < len(choices) else None


_LLAVA_LETTERS = "ABCDE"
_LLAVA_ANSWER_IS = re.compile(r"The answer is ([A-Z]).")


def parse_llava(reply: str, choices: Sequence[str]) -> int | None:
    """LLaVA's ScienceQA rule: the unstripped reply is a letter A to E, opens with `B. `, or has one `The answer is B.`.

    Source: LLaVA eval_science_qa.py.
    """
    if len(reply) == 1 and reply in _LLAVA_LETTERS:
        return index_of(reply, choices)
    if len(reply) >= 3 and reply[0] in _LLAVA_LETTERS and reply[1:3] == ". ":
        return index_of(reply[0], choices)
    letters = _LLAVA_ANSWER_IS.findall(reply)
    return index_of(letters[0], choices) if len(letters) == 1 and letters[0] in _LLAVA_LETTERS else None


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
    letters = string.ascii_uppercase[: len(choices)]
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
    """MMBench's rule: one option letter whose first place is among the last four words; `answer is X` with X from A to
    D in any case, even as the start of a word; else the one option whose text the reply holds, if the reply is at most
    twice as long as all options together.

    Source: VLMEvalKit matching_util.py (can_infer) without its judge model and random letter; its letter Z is None.
    """
    if any(refusal in reply for refusal in _MMBENCH_REFUSALS):
        return None
    words = reply.translate(_MMBENCH_BLANKED).split()
    letters = [letter for letter in string.ascii_uppercase[: len(choices)] if letter in words]
    if len(letters) == 1 and words.index(letters[0]) >= len(words) - _MMBENCH_LAST_WORDS:
        return index_of(letters[0], choices)
    if not letters and "Z" in words:
        return None
    if (named := _MMBENCH_ANSWER_IS.search(reply)) and (index := index_of(named[1].upper(), choices)) is not None:
        return index
    folded = reply.lower()
    if len(folded) > 2 * sum(map(len, choices)):
        return None
    held = [index for index, choice in enumerate(choices) if choice.lower() in folded]
    return held[0] if len(held) == 1 else None
