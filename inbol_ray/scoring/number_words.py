"""Numbers in words and digits: tokens, a place -> the number that starts there. English.

`21`, `twenty-one`, `1,200`, `3 million`, `a dozen`, `half a`, `1/2`. Source: ours.
"""

import re
from collections.abc import Sequence

from inbol_ray.scoring.sentences import Token
from inbol_ray.scoring.units import UNITS
from inbol_ray.scoring.word_forms import listed

_SMALL = {
    word: number
    for number, word in enumerate(
        listed(
            """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
        seventeen eighteen nineteen twenty"""
        )
    )
}
_TENS = {
    word: 10 * number
    for number, word in enumerate(listed("twenty thirty forty fifty sixty seventy eighty ninety"), start=2)
}
_SCALES = {"hundred": 100, "thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}
_GROUPS = {"couple": 2, "pair": 2, "dozen": 12, "trio": 3, "duo": 2, "quartet": 4, "twice": 2, "both": 2, "single": 1}
_POINTING = frozenset(listed("the this that each every another which no any right left other"))
_DIGITS = re.compile(r"\d[\d,]*(?:\.\d+)?")


def read_number(tokens: Sequence[Token], place: int) -> tuple[float | None, int]:
    """The number that starts at a token and where it ends; (None, place) where none does."""
    if place >= len(tokens):
        return None, place
    word = tokens[place].text.lower()
    if word == "one" and (
        _is_last(tokens, place)
        or place
        and tokens[place - 1].text.lower() in _POINTING
        or tokens[place + 1 : place + 2]
        and tokens[place + 1].text.lower() in ("another", "that", "who")
    ):
        return None, place
    if word in ("a", "an") and place + 1 < len(tokens):
        following = tokens[place + 1].text.lower()
        if following in _GROUPS or following in _SCALES or following in ("half", "quarter"):
            number, end = read_number(tokens, place + 1)
            return number, end
        return (1.0, place + 1) if following in UNITS and following != "second" else (None, place)
    if word in ("half", "quarter") and place + 1 < len(tokens):
        part = 0.5 if word == "half" else 0.25
        ahead = [token.text.lower() for token in tokens[place + 1 : place + 4]]
        for skipped in (1, 2):  # `half a kilogram`, `half of a kilogram`, `half an hour`
            if ahead[:skipped] in (["a"], ["an"], ["of", "a"]) and ahead[skipped : skipped + 1] != []:
                if ahead[skipped] in UNITS:
                    return part, place + 1 + skipped
                if ahead[skipped] in _GROUPS:
                    return part * _GROUPS[ahead[skipped]], place + 2 + skipped
        return None, place
    if word in _GROUPS:
        return float(_GROUPS[word]), place + 1
    if _DIGITS.fullmatch(word):
        return _scaled(float(word.replace(",", "")), tokens, place + 1)
    return _spelt(tokens, place)


def _is_last(tokens: Sequence[Token], place: int) -> bool:
    """Whether `one` ends a phrase and stands for a thing: `I missed one:`."""
    ends = place + 1 == len(tokens) or not tokens[place + 1].text[0].isalnum()
    return (
        ends and place > 0 and tokens[place - 1].text.lower() not in ("is", "are", "only", "just", "exactly", "=", ",")
    )


def _scaled(number: float, tokens: Sequence[Token], place: int) -> tuple[float, int]:
    """`3 million`, `2 dozen`, `2 and a half`, `1/2`."""
    words = [token.text.lower() for token in tokens[place : place + 3]]
    if words[:1] and (words[0] in _SCALES or words[0] == "dozen"):
        return number * (_SCALES.get(words[0]) or 12), place + 1
    if words[:1] == ["/"] and words[1:2] and words[1].isdigit() and words[2:3] != ["/"] and int(words[1]):
        return number / int(words[1]), place + 2
    if words == ["and", "a", "half"]:
        return number + 0.5, place + 3
    return number, place


def _spelt(tokens: Sequence[Token], place: int) -> tuple[float | None, int]:
    total, part, end, last = 0.0, 0.0, place, ""
    while end < len(tokens):
        word = tokens[end].text.lower()
        if word == "-" and last in _TENS and end + 1 < len(tokens) and tokens[end + 1].text.lower() in _SMALL:
            end += 1
            continue
        if (
            word == "and"
            and last in _SCALES
            and end + 1 < len(tokens)
            and (tokens[end + 1].text.lower() in _SMALL or tokens[end + 1].text.lower() in _TENS)
        ):
            end += 1
            continue
        if word in _TENS and (not last or last in _SCALES):
            part += _TENS[word]
        elif word in _SMALL and (not last or last in _SCALES or (last in _TENS and _SMALL[word] < 10)):
            part += _SMALL[word]
        elif word in _SCALES and last:
            part = (part or 1) * _SCALES[word]
            if _SCALES[word] >= 1000:
                total, part = total + part, 0.0
        elif word in _SCALES and not last:
            part = _SCALES[word]
        else:
            break
        last, end = word, end + 1
    if not last:
        return None, place
    rest = [token.text.lower() for token in tokens[end : end + 3]]
    if rest[:2] == ["quarters", "of"] and rest[2:] in (["a"], ["an"]):  # `three quarters of an hour`
        return (total + part) / 4, end + 3
    return _scaled(total + part, tokens, end)
