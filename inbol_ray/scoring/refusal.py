"""Does a reply decline to answer? reply (and its question) -> Refusal.

The detector works on the raw reply, before any answer is parsed. `no`, `none`, `not visible` and `there is no dog` are
answers; `I'm not sure, but it looks like a Cessna 172` is an answer that hedges, which is scored and flagged.

Source: ours; `refusal_phrases` has the words.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

from inbol_ray.rows import Question
from inbol_ray.scoring.choice_parsers import leading_choice, parse_choice
from inbol_ray.scoring.refusal_phrases import FAMILIES_BY_TRIGGER, WHOLE_REPLY, Family

Strength = Literal["full", "hedged"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the detector found.

    `refused` is true for `strength="full"` only. `hedged` marks an answer with words of refusal beside it. `span` is
    where those words stand in the raw reply, as (start, end).
    """

    refused: bool
    strength: Strength | None = None
    span: tuple[int, int] | None = None


class _Phrase(NamedTuple):
    """Refusing words at [start, end) of a reply."""

    start: int
    end: int
    family: Family


_ANSWERED = Refusal(False)
_CACHE_SIZE = 1 << 14
_LONGEST_WHOLE_REPLY = 100
_APOSTROPHES = str.maketrans({"\u2018": "'", "\u2019": "'", "\u02bc": "'", "\u00b4": "'", "`": "'"})
_QUOTED = re.compile(r"\"[^\"]+\"|\u201c[^\u201d]+\u201d|(?<!\w)'(?=\S).+?(?<=\S)'(?!\w)")

# --- Around a phrase. All patterns are for lower-case text with straight apostrophes. -----------------------------

_REPORTED = re.compile(
    r"\b(?:says|(?<!must )(?<!to )(?<!would )say|said|saying|reads?|reading|states?|stating|titled|entitled|called|named|labell?ed|film|movie|song|"
    r"album|book|novel)(?:\s+that)?(?:\s+the\s+\w+)?\s*[:,]?\s*$"
)
_NAME_WORD = re.compile(r"[A-Z][a-z]+(?:'[a-z]+)?$")
_SMALL_WORDS = frozenset({"i", "a", "an", "the", "to", "of", "be", "is", "it", "in", "for"})

_OFFER = re.compile(
    r"\W*(?:(?:i|we)\s+(?:can|could|will|am|do)|(?:i\s+would|i'd)\s+(?:be|like|love)|i'll|i'm|you|if|please|let|feel)\b"
)
_CONTRAST = re.compile(r"\b(?:but|however|although|though)\b\W*")
_GUESS = re.compile(
    r"(?:^|[.,;:!?\u2013\u2014-])\s*(?:but\s+|so\s+)?(?:"
    r"(?:maybe|perhaps|possibly)(?!\s+(?:you|if|someone|ask|try))|probably|likely|i\s+think|i\s+guess|"
    r"i\s+believe|i'd\s+say|i'd\s+guess|i\s+would\s+(?:say|guess)|my\s+(?:best\s+)?guess|looks\s+like|the\s+answer\s+is|"
    r"(?:it|this|that)\s+(?:might|may|could|looks|seems|appears|is\s+(?:probably|likely|possibly)))\b(?=\W*\w)|"
    r"[.,;:\u2026-]\s*(?:an?|the)\s+\w+(?:\s+\w+){0,3}\s*\?"
)
_ENDS_IN_CONTRAST = re.compile(r"(?:but|however|although|though)\W*$")
_CONCEDES = re.compile(r"(?:although|while|though)\s+$")
_ENDS_CLAUSE = re.compile(r"[.,;:!?\u2013\u2014-]\s*$")
_NO_ANSWER = re.compile(
    r"\b(?:image|picture|photo|question|information|blurry|blurred|too\s+\w+|unfortunately|sorry|apolog\w+|honest|"
    r"honestly|based|as\s+an?|wish|would\s+like|afraid)\b|"
    r"^\W*(?:well|h+m+|u+m+|oh|hi|hello|a|(?:the\s+)?answer(?:\s+is)?)?\W*$"
)
_BARE_NO = re.compile(r"\W*no\W*")
_SHORT_ANSWER = re.compile(r"\W*\w+(?:[^\w.!;\n]+\w+){0,2}\s*[.!;\n]\s*")
_ASKS = re.compile(r"\s+(?:of\s+)?(?:what|which|who|whose|whom|where|when|how|why|the|his|her|its|their)\b")


def detect_refusal(reply: str, question: Question | None = None) -> Refusal:
    """Whether a reply refuses (`full`), answers with a hedge (`hedged`), or only answers.

    Whole words are matched in any case, with straight or curly apostrophes. With a question, words that the question or
    its options use are not taken for a refusal, and a reply that opens with an option's letter or is an option's text
    refuses only if that option is itself a refusal: one in which somebody speaks of themselves (`Sorry, I can't help
    with it`), or any refusing words where the question is marked as unanswerable. `The answer is B` refuses likewise.
    An empty reply refuses nothing.

    Source: ours; see the module's docstring.
    """
    mentions: tuple[str, ...] = ()
    if question is not None:
        if question.choices and (index := leading_choice(reply, question.choices)) is not None:
            return _detect_in_choice(reply, question.choices[index], question.answerable is False)
        mentions = (question.question, *question.choices)
    found = _detect(reply, mentions)
    if question is not None and question.choices and not found.refused:
        index = parse_choice(reply, question.choices)
        if index is not None and _is_refusing_choice(question.choices[index], question.answerable is False):
            return Refusal(True, "full", (0, len(reply)))
    return found


def _detect_in_choice(reply: str, choice: str, unanswerable: bool) -> Refusal:
    """The verdict on a reply that names a choice: what the choice says decides, whatever else the reply adds."""
    if _is_refusing_choice(choice, unanswerable):
        return Refusal(True, "full", (0, len(reply)))
    beside = _detect(reply, (choice,))
    return Refusal(False, "hedged", beside.span) if beside.strength else _ANSWERED


@lru_cache(maxsize=_CACHE_SIZE)
def _is_refusing_choice(choice: str, unanswerable: bool) -> bool:
    if not _detect(choice, ()).refused:
        return False
    said = _fold(choice)
    phrases = _find_phrases(said, _possible_families(said))
    return unanswerable or (bool(phrases) and phrases[0].family.spoken)


@lru_cache(maxsize=_CACHE_SIZE)
def _detect(reply: str, mentions: tuple[str, ...]) -> Refusal:
    """The verdict on a reply's words; `mentions` are texts whose words the reply may be repeating."""
    said = _fold(reply)
    if not (families := _possible_families(said)):
        return _ANSWERED
    mentions = tuple(text for text in mentions if not _is_refusing_choice(text, False))
    if len(said) <= _LONGEST_WHOLE_REPLY and WHOLE_REPLY.fullmatch(" ".join(said.split())):
        word = re.sub(r"\W+", " ", said).strip()
        return _ANSWERED if any(_holds(text, word) for text in mentions) else Refusal(True, "full", (0, len(reply)))
    said = _blot_quotes(said)
    phrases = [phrase for phrase in _find_phrases(said, families) if _speaks_for_itself(phrase, reply, said, mentions)]
    if not phrases:
        return _ANSWERED
    hedged = (
        _answers_before(phrases[0], said)
        or _GUESS.search(said, phrases[0].end, phrases[-1].start) is not None
        or _answers_after(phrases[-1], said)
    )
    return Refusal(not hedged, "hedged" if hedged else "full", (phrases[0].start, phrases[0].end))


def _fold(text: str) -> str:
    """Lower case and straight apostrophes, every character at its place."""
    text = text.translate(_APOSTROPHES) if not text.isascii() or "`" in text else text
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered
    return "".join(character.lower() if len(character.lower()) == 1 else character for character in text)


def _blot_quotes(said: str) -> str:
    """Text without what stands in quotes, every character at its place; all of it in quotes is no quotation."""
    stripped = said.strip()
    return _QUOTED.sub(lambda quoted: quoted[0] if len(quoted[0]) >= len(stripped) - 1 else "\0" * len(quoted[0]), said)


def _possible_families(said: str) -> list[Family]:
    """The families that folded text holds a trigger of, in their order; none where it cannot refuse."""
    triggers = [trigger for trigger in FAMILIES_BY_TRIGGER if trigger in said]
    return list(dict.fromkeys(family for trigger in triggers for family in FAMILIES_BY_TRIGGER[trigger]))


def _find_phrases(said: str, families: Iterable[Family]) -> list[_Phrase]:
    """Refusing words in folded text, in order; those that overlap count as one."""
    found = [
        _Phrase(match.start(), match.end(), family) for family in families for match in family.pattern.finditer(said)
    ]
    found.sort(key=lambda phrase: (phrase.start, -phrase.end))
    kept: list[_Phrase] = []
    for phrase in found:
        if kept and phrase.start < kept[-1].end:
            kept[-1] = kept[-1]._replace(end=max(kept[-1].end, phrase.end))
        else:
            kept.append(phrase)
    return kept


def _speaks_for_itself(phrase: _Phrase, reply: str, said: str, mentions: Iterable[str]) -> bool:
    """False for words that the reply reports: a name (`I Don't Know`), read text, or words of the question."""
    if _is_name(reply[phrase.start : phrase.end].translate(_APOSTROPHES)) or _REPORTED.search(said, 0, phrase.start):
        return False
    # People who ask also say "I don't know what this is". A reply that opens with the same words means them.
    spoken = phrase.family.spoken and not re.search(r"\w", said[: phrase.start])
    words = said[phrase.start : phrase.end]
    if phrase.family.names_state and any(_holds(text, words.split()[-1]) for text in mentions):
        return False
    return not any(_holds(_quotations(text) if spoken else text, words) for text in mentions)


def _is_name(text: str) -> bool:
    """Whether the words are capitalised as a title is. Apologies are exempt: they open a sentence."""
    words = [word for word in text.split() if word.lower() not in _SMALL_WORDS]
    return (
        len(words) >= 2 and not words[0].lower().startswith(("sorry", "apolog")) and all(map(_NAME_WORD.match, words))
    )


def _quotations(text: str) -> str:
    """What stands in quotes in a text."""
    return " ".join(_QUOTED.findall(text.translate(_APOSTROPHES)))


def _holds(text: str, words: str) -> bool:
    folded = " ".join(_fold(text).split())
    return re.search(rf"(?<!\w){re.escape(' '.join(words.split()))}(?!\w)", folded) is not None


def _answers_after(phrase: _Phrase, said: str) -> bool:
    """Whether an answer follows: a guess in a new clause, the main clause after `although I cannot ...,`, or after
    `but` what is neither an offer nor a reason."""
    tail = said[phrase.end :]
    if _GUESS.search(tail):
        return True
    if _CONCEDES.search(said, 0, phrase.start) and "," in tail:
        return not _NO_ANSWER.search(tail[tail.index(",") :])
    contrast = _CONTRAST.search(tail)
    if contrast is None or _OFFER.match(tail, contrast.end()):
        return False
    return not _NO_ANSWER.search(tail[contrast.end() :])


def _answers_before(phrase: _Phrase, said: str) -> bool:
    """Whether an answer precedes words that only doubt it: `A Cessna 172, but I'm not sure`.

    `The plane is white, but I'm not sure which model it is` is none: it says what it does not know.
    """
    head = said[: phrase.start]
    if not phrase.family.weak:  # "Blue. I can't see the other side."
        return bool(_SHORT_ANSWER.fullmatch(head)) and not _BARE_NO.fullmatch(head) and not _NO_ANSWER.search(head)
    if _ASKS.match(said, phrase.end):
        return False
    contrast = _ENDS_IN_CONTRAST.search(head)
    if not contrast and (_BARE_NO.fullmatch(head) or not _ENDS_CLAUSE.search(head)):
        return False
    return not _NO_ANSWER.search(head[: contrast.start()] if contrast else head)
