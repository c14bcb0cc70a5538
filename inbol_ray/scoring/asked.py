"""What does a question ask about? question -> its kind, its head noun and the other words that link a reply to it.

`What color is the lid of the jar?` asks for a color, of a lid; `How many lamps are lit?` counts lamps. Source: ours.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from inbol_ray.scoring.sentences import VERBS, clean, is_word, tokenise
from inbol_ray.scoring.word_forms import lemma, listed

AskedKind = Literal["color", "material", "count", "place", "person", "yes_no", "other"]

FUNCTION_WORDS = frozenset(
    lemma(word)
    for word in listed(
        """a an the of in on at to for from with by and or is be do have can will would should could may might must
        what which who whom whose where when why how that this these those there it its he his him she her hers they
        their them you your i we our us as if any some all both each every other most many much more very so just
        also only here please answer question about into onto itself one ones kind type sort name"""
    )
)  # fmt: skip
"""Lemmas that link nothing."""
PREPOSITIONS = frozenset(
    listed(
        """of in on at to for from with by under above behind beside near next between against inside outside into onto
        around across along through over during after before left right front top bottom"""
    )
)  # fmt: skip
_AUXILIARIES = frozenset(listed("is are was were do does did can could has have had will would should am isn't aren't"))
_PEOPLE = frozenset(
    listed(
        """singer actor actress player president author writer artist painter person politician athlete musician king
        queen celebrity scientist director man woman character leader inventor"""
    )
)


@dataclass(frozen=True, slots=True)
class Asked:
    """`head` is the lemma of the noun that the answer is about, or empty; `words` has all lemmas that link, head included;
    `ordered` the same in the question's order; `tokens` every lemma."""

    kind: AskedKind
    head: str
    words: frozenset[str]
    ordered: tuple[str, ...]
    tokens: tuple[str, ...]


@lru_cache(maxsize=1 << 12)
def read_question(question: str) -> Asked:
    """The parts of a question. Of several sentences the last that has words is the question."""
    tokens = [token for token in tokenise(clean(question.strip().rstrip("?. "))) if is_word(token) or token.text == ","]
    raw = tuple(token.text.lower() for token in tokens if token.text != ",")
    lemmas = tuple(token.lemma for token in tokens if token.text != ",")
    kind = _kind(raw, lemmas)
    ordered = tuple(word for word in lemmas if word not in FUNCTION_WORDS and word not in ("color", "picture"))
    return Asked(kind, _head(raw, lemmas, kind), frozenset(ordered), ordered, lemmas)


def _kind(raw: tuple[str, ...], lemmas: tuple[str, ...]) -> AskedKind:
    if not raw:
        return "other"
    if "color" in lemmas[:4] and raw[0] not in _AUXILIARIES:
        return "color"
    if ("make" in lemmas and raw[-1] in ("of", "from")) or "material" in lemmas[:5]:
        return "material" if raw[0] not in _AUXILIARIES else "yes_no"
    if (
        raw[:2] == ("how", "many")
        or ("how", "many") in zip(raw, raw[1:], strict=False)
        or raw[:3] == ("what", "number", "of")
    ):
        return "count"
    if "where" in raw[:3]:
        return "place"
    if raw[0] in ("who", "whose", "whom") or (raw[0] in ("which", "what") and len(raw) > 1 and lemmas[1] in _PEOPLE):
        return "person"
    if raw[0] in _AUXILIARIES and "or" not in raw:
        return "yes_no"
    return "other"


def _head(raw: tuple[str, ...], lemmas: tuple[str, ...], kind: AskedKind) -> str:
    """The last word of the noun phrase that is asked about."""
    if kind == "count":
        start = raw.index("many") + 1 if "many" in raw else raw.index("of") + 1
        return _phrase_end(lemmas, start)
    if kind == "color" and "color" in lemmas:
        place = lemmas.index("color")
        if place + 1 < len(lemmas) and lemmas[place + 1] not in ("be", "of", "do", "have", "can"):
            return _phrase_end(lemmas, place + 1)  # `What color shirt is ...`
        return _phrase_end(lemmas, _after_verb(lemmas, place + 1))
    if kind == "yes_no":
        return next((word for word in lemmas[1:] if word not in FUNCTION_WORDS), "")
    if len(raw) > 1 and raw[0] in ("what", "which") and lemmas[1] not in ("be", "do", "have", "can"):
        return _phrase_end(lemmas, 1)
    return _phrase_end(lemmas, _after_verb(lemmas, 1))


def _after_verb(lemmas: tuple[str, ...], start: int) -> int:
    for place in range(start, len(lemmas)):
        if lemmas[place] in ("be", "do", "have", "can", "will", "of"):
            return place + 1
    return start


def _phrase_end(lemmas: tuple[str, ...], start: int) -> str:
    last = ""
    for word in lemmas[start:]:
        if word in FUNCTION_WORDS or word in PREPOSITIONS or (last and word in VERBS):
            if last:
                break
            continue
        last = word
    return last
