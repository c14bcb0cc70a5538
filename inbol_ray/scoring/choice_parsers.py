"""Which option does a reply name? Pure functions: reply, options -> index, or None where it names none (unparsed).

Where a published parser draws a random letter or asks a judge model, ours returns None: a reply without a readable
choice is wrong and counted, never a lucky hit. `union` is ours and the default; results name the parser they used.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal

from inbol_ray.scoring.choice_mentions import (
    BECAUSE,
    CORRECTION,
    Mention,
    declared_letters,
    find_mentions,
    is_denied,
    joined_after,
    named_letters,
    readable,
)
from inbol_ray.scoring.official_choice_parsers import index_of, parse_llava, parse_mmbench, parse_mmmu
from inbol_ray.scoring.plain_text import without_markup, without_quotes

ChoiceParser = Literal["union", "llava", "mmmu", "mmbench"]

_BOXED = re.compile(r"\\boxed\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
_ALONE = re.compile(r"\W*\(?([A-Za-z])\)?[.,:;!?\s]*")
_OUTER = " \t\r\n-*>#\u2022"
_DELIMITER = re.compile(r"\s*(?:[.):](?!\w\.)|[-\u2013\u2014,](?=\s))\s*|\s*\n\s*")
_CLAUSE_END = re.compile(r"\s*(?:$|\n|[.,;:!?()](?:\s|$|\w)|\u2014|\u2013|\s-\s|because\b|since\b|as\b)", re.IGNORECASE)
_LINE_LETTER = re.compile(r"^[ \t*>-]*(?:option\s+)?\(?([A-Z])\)?(?:[.):](?=\s|$)|\s*$)", re.MULTILINE | re.IGNORECASE)
_DENIAL = re.compile(r"\b(?:wrong|incorrect|not|no|false|never|cannot)\b|n't\b|\u9519|\u4e0d", re.IGNORECASE)
_SAYS_TEXT = re.compile(
    r"(?:\b(?:answer|option|choice)\b(?:\s+is|\s*:)|\u7b54\u6848\s*(?:\u662f|\u4e3a|:))\s*:?\s*", re.IGNORECASE
)
_SMALL_LETTER = re.compile(r"\s*([a-z])[.):]\s+")
_ENDS_IN_LETTER = re.compile(r"\s*\(([A-Z])\)[.!]?$")


def parse_choice(reply: str, choices: Sequence[str], parser: ChoiceParser = "union") -> int | None:
    """Index of the choice that a reply names by the rule of `parser`, or None. Source: see the parsers below."""
    return _PARSERS[parser](reply, choices)


def parse_union(reply: str, choices: Sequence[str]) -> int | None:
    """Ours: the one option that a reply commits to, or None where it names none, several or contradicts itself.

    Read are, in this order: the text of one choice, word for word; a letter alone in any case; one that the reply says
    is the answer (`the correct option is (B)`, `B is correct`, `Answer: Yes`, a LaTeX box); one that it opens with
    (`B. air`); one that it names as `option B`. Markdown, LaTeX, brackets, quotes and full-width letters make no
    difference. None where options are listed (`A. rock B. air`), joined (`A or B`, `A/B`), or where letter and text are
    those of different options (`A. air`); `A: air` reads as `Answer: air`. After `no, wait` only what follows counts.

    Source: ours (once the union of LLaVA eval_science_qa.py and lmms-eval scienceqa; see the tests for the traps).
    """
    if (index := _whole_text(reply, choices)) is not None:
        return index
    boxed = {parse_union(box, choices) for box in _BOXED.findall(reply)} - {None}
    if boxed:
        return boxed.pop() if len(boxed) == 1 else None
    text = readable(reply)
    corrections = list(CORRECTION.finditer(text))
    if corrections and find_mentions(text[: corrections[-1].start()], choices):
        text = text[corrections[-1].end() :].lstrip(_OUTER + ".,;:!?")
    return _read(text, choices)


def leading_choice(reply: str, choices: Sequence[str]) -> int | None:
    """Index of the choice that a reply opens with, by letter, or consists of, by text; None for neither."""
    index = _whole_text(reply, choices)
    return _opening(readable(reply), choices) if index is None else index


def _read(text: str, choices: Sequence[str]) -> int | None:
    if alone := _ALONE.fullmatch(text):
        return index_of(alone[1].upper(), choices)
    mentions = find_mentions(text, choices)
    declared = declared_letters(text, mentions, choices)
    if declared:
        if len(declared) > 1:
            return None
        (mention,) = declared.values()
        return None if _is_contradicted(text, mention, choices) else index_of(mention.letter, choices)
    if (index := _said_text(text, choices)) is not None:
        return index
    if (index := _last_line(text, choices)) is not None:
        return index
    if _first_letter(text, choices) is not None:
        return _opening(text, choices)
    named = named_letters(text, mentions)
    if named:
        return index_of(named.pop(), choices) if len(named) == 1 else None
    return _text_and_letter(text, choices)


def _whole_text(reply: str, choices: Sequence[str]) -> int | None:
    """The one choice whose text the reply is, in any case: as it stands (`B+`), or without dress. A letter is none."""
    reply = reply.strip()
    if len(reply) < 2:  # a letter, most often
        return _one_equal(reply, choices) if reply and not reply.isalpha() else None
    same = [index for index, choice in enumerate(choices) if choice.strip().casefold() == reply.casefold()]
    if len(same) == 1:
        return same[0]
    if _ALONE.fullmatch(without_quotes(without_markup(reply))):
        return None
    return _one_equal(reply, choices)


def _one_equal(text: str, choices: Sequence[str]) -> int | None:
    wanted = _fold(text)
    same = [index for index, choice in enumerate(choices) if _fold(choice) == wanted]
    return same[0] if len(same) == 1 and wanted else None


@lru_cache(maxsize=1 << 14)
def _fold(text: str) -> str:
    text = readable(text)
    return without_quotes(text.rstrip(".!") or text).rstrip(".").strip().casefold()


def _first_letter(text: str, choices: Sequence[str]) -> Mention | None:
    """The letter that the text opens with; a small one where its option's text follows."""
    first = next(iter(find_mentions(text, choices)), None)
    if first is not None and not text[: first.start].strip(_OUTER):
        return first
    small = _SMALL_LETTER.match(text)
    if small is None:
        return None
    index = index_of(small[1].upper(), choices)
    if index is None or not _length_of(text[small.end() :], choices[index]):
        return None
    return Mention(small[1].upper(), small.start(1), small.end(1), False)


def _opening(text: str, choices: Sequence[str]) -> int | None:
    """The option whose letter the text opens with, unless others are listed beside it or its text is another's."""
    if alone := _ALONE.fullmatch(text):
        return index_of(alone[1].upper(), choices)
    first = _first_letter(text, choices)
    if first is None:
        return None
    index = index_of(first.letter, choices)
    if index is None or is_denied(text, first):
        return None
    rest = text[first.end :]
    delimiter = _DELIMITER.match(rest)
    body = rest[delimiter.end() :] if delimiter else rest.lstrip()
    told = _told_option(body, index, choices)
    is_firm = first.is_bracketed or (delimiter is not None and delimiter[0].strip() in {".", ")", ":", ""})
    if not is_firm and told != index and not BECAUSE.match(body):
        return None
    if told is not None and told != index:
        return told if first.letter == "A" and rest.startswith(":") else None
    if told is None and first.letter == "A" and rest.startswith(":") and _first_letter(body, choices):
        return None if body.startswith("A:") else _opening(body, choices)  # `A: B` is an answer, B
    if told is None and (alone := _ALONE.fullmatch(body)) and index_of(alone[1].upper(), choices) != index:
        return None
    after = first.end + len(rest) - len(body) + (_length_of(body, choices[index]) if told == index else 0)
    if joined_after(text, after, find_mentions(text, choices), first.letter):
        return None
    on_its_line = delimiter is not None and "\n" in delimiter[0] and not first.is_bracketed
    return None if _lists_others(text, first, after, choices, bare_only=on_its_line) else index


def _last_line(text: str, choices: Sequence[str]) -> int | None:
    """The option that the last line is or opens with, where it is the only line that is a letter, or opens with one."""
    if "\n" not in text.strip():
        return None
    *lines, last = [line for line in text.split("\n") if line.strip()]
    is_alone = _ALONE.fullmatch(last) is not None
    if any(_ALONE.fullmatch(line) if is_alone else _first_letter(line, choices) for line in lines):
        return None
    return _opening(last, choices)


def _told_option(body: str, index: int, choices: Sequence[str]) -> int | None:
    """The option whose text a body starts with, up to the end of a clause: the letter's own, or the longest other."""
    fitting = [other for other, choice in enumerate(choices) if _length_of(body, choice)]
    if not fitting or index in fitting:
        return index if fitting else None
    return max(fitting, key=lambda other: len(choices[other]))


def _length_of(body: str, choice: str) -> int:
    """How much of the body is the option's text, 0 where it starts otherwise or goes on."""
    wanted = readable(choice).rstrip(".").casefold()
    if not wanted or not body.casefold().startswith(wanted) or len(body.casefold()) != len(body):
        return 0
    return len(wanted) if _CLAUSE_END.match(body, len(wanted)) else 0


def _lists_others(text: str, first: Mention, after: int, choices: Sequence[str], *, bare_only: bool) -> bool:
    """Whether other options are enumerated after the first: on lines of their own, in brackets, or with their text."""
    rest = text[after:]
    for found in _LINE_LETTER.finditer(rest):
        letter, line = found[1].upper(), rest[found.start() :].partition("\n")[0]
        is_other = letter != first.letter and index_of(letter, choices) is not None
        is_bare = not line.strip(f" ().:{found[1]}")
        if is_other and (is_bare or not bare_only) and not _DENIAL.search(line):
            return True
    if bare_only:
        return False
    reason = BECAUSE.search(text, after)
    for other in find_mentions(text, choices):
        if other.start < after or other.letter == first.letter or (reason and other.start > reason.start()):
            continue
        if is_denied(text, other):
            continue
        index = index_of(other.letter, choices)
        body = text[other.end :]
        told = re.match(r"[.):]\s*", body)
        if other.is_bracketed or (told and index is not None and _length_of(body[told.end() :], choices[index])):
            return True
    return False


def _is_contradicted(text: str, declared: Mention, choices: Sequence[str]) -> bool:
    """Whether another option's text stands beside a declared letter, or the reply opens with another letter alone."""
    index = index_of(declared.letter, choices)
    if index is None:
        return True
    rest = text[declared.end :]
    delimiter = re.match(r"\s*[.):,(-]*\s*", rest)
    assert delimiter is not None  # it matches nothing too
    told = _told_option(rest[delimiter.end() :], index, choices)
    if told is not None and told != index:
        return True
    after = declared.end + delimiter.end()
    after += _length_of(text[after:], choices[index]) if told == index else 0
    if rest.startswith((".", ")", ":")) and _lists_others(text, declared, after, choices, bare_only=False):
        return True
    opened = None if text[:2] == "A:" else _opening(text[: _sentence_start(text, declared.start)], choices)
    return opened is not None and opened != index


def _sentence_start(text: str, place: int) -> int:
    found = [mark.end() for mark in re.finditer(r"[.!?]\s+(?=\S)|\n", text[:place])]
    return found[-1] if found else 0


def _said_text(text: str, choices: Sequence[str]) -> int | None:
    """The one option whose text the reply says is the answer (`Answer: Yes`, `the answer is 42`)."""
    found = set()
    for cue in _SAYS_TEXT.finditer(text):
        said = text[cue.end() :].partition("\n")[0]
        for part in (said, re.split(r"[.!?;]\s", said, maxsplit=1)[0], re.split(r",\s|\s\(", said, maxsplit=1)[0]):
            if (index := _one_equal(part, choices)) is not None:
                found.add(index)
                break
    return found.pop() if len(found) == 1 else None


def _text_and_letter(text: str, choices: Sequence[str]) -> int | None:
    """An option in brackets at the end, the only one in brackets; `air (B)`, unless the text is another option's."""
    ending = _ENDS_IN_LETTER.search(text)
    if ending is None or len({letter for letter in re.findall(r"\(([A-Z])\)", text)}) > 1:
        return None
    index, told = index_of(ending[1], choices), _one_equal(text[: ending.start()], choices)
    return index if told in (None, index) else None


_PARSERS: dict[str, Callable[[str, Sequence[str]], int | None]] = {
    "union": parse_union,
    "llava": parse_llava,
    "mmmu": parse_mmmu,
    "mmbench": parse_mmbench,
}
