"""Where does a reply speak of options, and what does it say of them? Pure functions on a reply in `readable` form.

A mention is a letter that stands for an option: in brackets in any case, or bare in upper case. The article of `A man`,
the pronoun `I` and letters of `U.S.` or `B-52` are none.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from inbol_ray.scoring.plain_text import without_markup

_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {
    0x3000: " ",
    ord("\u3002"): ".",
    ord("\u3001"): ",",
    ord("\u3010"): "[",
    ord("\u3011"): "]",
    ord("\u2018"): "'",
    ord("\u2019"): "'",
}
_QUOTED_LETTER = re.compile(r"[\"'\u201c]\s*([A-Z])\s*[.:]?\s*[\"'\u201d]")
_BRACKETED = re.compile(r"[\[{<]{1,2}\s*([A-Za-z])\s*[\]}>]{1,2}|\(\(\s*([A-Za-z])\s*\)\)")
_MENTION = re.compile(
    r"\(\s*(?P<in_brackets>[A-Za-z])\s*\)"
    r"|(?<![A-Za-z0-9_'])(?<![A-Za-z0-9]\.)(?P<bare>[A-Z])(?![A-Za-z0-9_']|[.&+-][A-Za-z0-9])"
)
_GOES_ON = re.compile(
    r"\s+(?:because|since|as|or|and|nor|is|are|was|for|due|which|with|but|if|so|seems|would|not|must|looks|here|rather|instead)\b"
)
_ARTICLE = re.compile(r"\s+[a-z0-9]")
BECAUSE = re.compile(r"[,;]?\s*\b(?:because|since|as|due\s+to|given)\b|\u56e0\u4e3a", re.IGNORECASE)
CORRECTION = re.compile(
    r"(?:^|[.,;:!?\n\u2026\u2014-]|\s)\s*(?:oh,?\s+)?(?:(?:no\W{1,4})?wait(?=\s*[,.!:;\u2026-]|\s+no\b|\s+it)(?:\W{1,4}no\b)?|"
    r"no\W{1,4}wait\b|scratch\s+that|correction\b|let\s+me\s+correct\s+(?:that|myself)|on\s+second\s+thoughts?|"
    r"sorry\W{1,4}i\s+mean|i\s+mean\b|actually(?=\W{1,3}(?-i:[A-Z])(?!\w))|\u4e0d\u5bf9,)\W*",
    re.IGNORECASE,
)
_JOINT = re.compile(
    r"\s*(?:[,/&+|]|\bor\b|\band\b|\bversus\b|\bvs\.?|\u6216\u8005?|\u548c|\u53ca)"
    r"(?:\s*(?:or|and))?\s*(?:either\s+|maybe\s+|perhaps\s+|possibly\s+|option\s+|choice\s+)?",
    re.IGNORECASE,
)

_WORDS = (
    r"(?:(?:definitely|clearly|likely|most|probably|therefore|thus|indeed|simply|still|actually|either|both|the|option|"
    r"choice|letter|number|correct|right|best|answer|one|obviously|certainly)\s+)*"
)
_IS = r"(?:is|was|are|would\s+be|should\s+be|must\s+be|will\s+be|has\s+to\s+be|seems\s+to\s+be|appears\s+to\s+be)"
_DECLARES = re.compile(
    rf"(?=((?:\b(?:ans|answer|option|choice|letter|solution|selection|conclusion)s?\.?\s*(?:to\s+(?:the|this)\s+question\s*)?"
    rf"(?:{_IS}\b\s*:?|[:=\u2013-]|->|\u2192)|"
    r"\banswer\b(?:\s+(?:with|choice|option))?|\bans\.|\b(?:correct|right)\s*:|\b(?:so|thus|hence|therefore)\b,?|"
    r"\b(?:i|we)(?:'d|'ll|\s+would|\s+will|\s+must)?\s+(?:choose|chose|pick|picked|select|selected|go\s+with|think|"
    r"believe|guess|conclude)(?:\s+that)?|"
    r"\b(?:choose|select|pick|going\s+with|go\s+with)|"
    rf"\b(?:it|this|that|which)(?:'s|\s+{_IS})|"
    r"\bnot\s+(?:option\s+)?\(?[A-Z]\)?\s*[,;.]?\s*but(?:\s+rather|\s+actually)?|"
    r"\b(?:antwort|respuesta|resposta|r\u00e9ponse|risposta|\u043e\u0442\u0432\u0435\u0442)(?:\s+(?:ist|es|\u00e9|est|\u00e8))?|"
    r"(?:\uc815\ub2f5|\u6b63\u89e3|\u7b54\u3048)\s*(?:\uc740|\ub294|\u306f)?|"
    r"(?:\u7b54\u6848|\u7ed3\u679c)(?:\u5e94\u8be5|\u5e94)?(?:\u662f|\u4e3a|\u9009)?(?:\u9009\u9879)?|"
    r"(?<![\u4e0d\u975e\u6ca1])(?:\u5e94\u8be5?|\u6545|\u6240\u4ee5|\u56e0\u6b64|\u6211)?\u9009(?:\u62e9|\u9879)?(?:\u662f|\u4e3a)?|"
    r"(?:\u800c|,|,\u800c)\u662f)"
    rf"[\])]?\s*[:=]?\s*{_WORDS}[:\"']?\s*))",  # ahead of each place: one cue may stand within another
    re.IGNORECASE,
)
_NAMES = re.compile(r"\b(?:option|choice|letter)\s+|\u9009\u9879\s*", re.IGNORECASE)
_IS_RIGHT = re.compile(
    r"\s*(?:\s(?:is|are|seems|seems\s+to\s+be|would\s+be|must\s+be|should\s+be|looks|appears|appears\s+to\s+be)\s+"
    r"(?:(?:definitely|clearly|likely|most\s+likely|probably|therefore|thus|indeed|the|my|both)\s+)*"
    r"(?:correct|right|true|best|accurate|answer|final\s+answer|most\s+(?:accurate|appropriate|suitable)|only\s+correct)\b|"
    r"(?:\u9009\u9879|\u9879)?(?:\u662f|\u4e3a)?(?:\u6b63\u786e|\u5bf9\u7684|\u7b54\u6848))",
    re.IGNORECASE,
)
_IS_WRONG = re.compile(
    r"\s*(?:\s(?:is|are|was|were|would\s+be|can\s+be|must\s+be|seems|looks)\s+(?:(?:also|both|clearly|definitely|all)\s+)*"
    r"(?:wrong|incorrect|false|inaccurate|eliminated|ruled\s+out|excluded|not|unlikely|impossible|out)\b|"
    r"\s(?:isn't|aren't|can't|cannot|doesn't|does\s+not|do\s+not|don't)\b|"
    r"(?:\u9009\u9879|\u9879)?(?:\u662f|\u4e3a)?(?:\u9519|\u4e0d\u5bf9|\u4e0d\u6b63\u786e|\u4e0d\u662f)|\u6392\u9664)",
    re.IGNORECASE,
)
_DENIES = re.compile(
    r"(?:\bnot|n't(?:\s+be)?|\bneither|\bnor|\brather\s+than|\binstead\s+of|\bexcept|\bexcluding|\bexclude|\beliminate|"
    r"\brule\s+out|\bthan|\bunlike|\u4e0d\u662f|\u4e0d\u9009|\u6392\u9664|\u5e76\u975e)\s*(?:the\s+)?(?:option\s+|choice\s+)?$",
    re.IGNORECASE,
)
_SMALL = re.compile(r"(?<![A-Za-z'])([a-z])[.)!]*\s*(?:$|\n)")
_CUE_SPAN = 40


@dataclass(frozen=True, slots=True)
class Mention:
    """An option's letter, upper case, at [start, end) of a reply."""

    letter: str
    start: int
    end: int
    is_bracketed: bool


@lru_cache(maxsize=1 << 14)
def readable(text: str) -> str:
    """The text as mentions are looked for: no markup or full-width signs, letters in any brackets as `(B)`."""
    text = without_markup(text.translate(_FULL_WIDTH))
    if len(text) < 2:
        return text
    text = _QUOTED_LETTER.sub(r"\1", text)
    return _BRACKETED.sub(lambda found: f"({found[1] or found[2]})", text)


def find_mentions(text: str, choices: Sequence[str]) -> list[Mention]:
    """All mentions, in order; the letter may be beyond the options."""
    found = []
    for place in _MENTION.finditer(text):
        letter = (place["in_brackets"] or place["bare"]).upper()
        if place["bare"] is not None and letter in "AI" and not _stands_for_option(text, place.end(), letter, choices):
            continue
        found.append(Mention(letter, place.start(), place.end(), place["bare"] is None))
    return found


def _stands_for_option(text: str, end: int, letter: str, choices: Sequence[str]) -> bool:
    """Whether a bare A or I is a letter and no word of the sentence."""
    index = ord(letter) - ord("A")
    if letter == "I" and index >= len(choices):
        return False
    if not _ARTICLE.match(text, end) or _GOES_ON.match(text, end):
        return True
    own = choices[index].casefold() if index < len(choices) else ""
    return bool(own) and text[end:].strip().casefold().startswith(own)


def is_denied(text: str, mention: Mention) -> bool:
    """Whether the reply says right there that this option is not the answer."""
    before = text[max(0, mention.start - _CUE_SPAN) : mention.start]
    return _DENIES.search(before) is not None or _IS_WRONG.match(text, mention.end) is not None


def joined_after(text: str, place: int, mentions: Sequence[Mention], letter: str) -> bool:
    """Whether another option is joined on at a place: `or B`, `/B`, `, B`; not where that one is said to be wrong."""
    joint = _JOINT.match(text, place)
    if joint is None:
        return False
    return any(
        other.start == joint.end() and other.letter != letter and not is_denied(text, other) for other in mentions
    )


def declared_letters(text: str, mentions: Sequence[Mention], choices: Sequence[str]) -> dict[str, Mention]:
    """The letters that the reply says are the answer, with those that are joined to them, each with one mention."""
    if not mentions and not _SMALL.search(text):
        return {}
    cues = {cue.end(1) for cue in _DECLARES.finditer(text)}
    found: dict[str, Mention] = {}
    for number, mention in enumerate(mentions):
        if is_denied(text, mention):
            continue
        if mention.start in cues:
            found |= {other.letter: other for other in _joined(text, mentions, number, choices)}
        if _IS_RIGHT.match(text, mention.end):
            found |= {other.letter: other for other in _joined_before(text, mentions, number)}
    if not found and (lower := _lower_case(text, cues)):
        found[lower.letter] = lower
    return found


def named_letters(text: str, mentions: Sequence[Mention]) -> set[str]:
    """The letters that the reply names as `option B` without a word against them."""
    names = {name.end() for name in _NAMES.finditer(text)}
    return {mention.letter for mention in mentions if mention.start in names and not is_denied(text, mention)}


def _lower_case(text: str, cues: set[int]) -> Mention | None:
    """`the correct answer is d.`: a small letter counts where nothing of its line follows."""
    for place in sorted(cues):
        if found := _SMALL.match(text, place):
            return Mention(found[1].upper(), found.start(1), found.end(1), False)
    return None


def _joined(text: str, mentions: Sequence[Mention], number: int, choices: Sequence[str]) -> list[Mention]:
    """The mention and those that are joined to it, texts of options between them passed over."""
    chain = [mentions[number]]
    for other in mentions[number + 1 :]:
        between = text[chain[-1].end : other.start]
        index = ord(chain[-1].letter) - ord("A")
        if index < len(choices) and choices[index]:
            between = re.sub(rf"^\W*{re.escape(choices[index])}", "", between, flags=re.IGNORECASE)
        is_beside = not between.strip() and other.is_bracketed
        if not (is_beside or _JOINT.fullmatch(between.lstrip(".:)"))) or (is_denied(text, other) and "," in between):
            break
        chain.append(other)
    return chain


def _joined_before(text: str, mentions: Sequence[Mention], number: int) -> list[Mention]:
    chain = [mentions[number]]
    for other in reversed(mentions[:number]):
        if not _JOINT.fullmatch(text[other.end : chain[-1].start]):
            break
        chain.append(other)
    return chain
