"""Times of day and dates in their usual forms: tokens, a place -> the fields and where they end, or None. English.

A number alone is neither: `quarter to five` is a time, `1942` a year only beside a month. Source: ours.
"""

import re
from collections.abc import Sequence

from inbol_ray.scoring.sentences import Token
from inbol_ray.scoring.word_forms import listed

_CLOCK = re.compile(r"(\d{1,2}):(\d\d)")
_MONTHS = {
    name: number
    for number, names in enumerate(
        """january jan/february feb/march mar/april apr/may/june jun/july jul/august aug/september sept sep/october oct/
        november nov/december dec""".replace("\n", "").split("/"),
        start=1,
    )
    for name in names.split()
}
_HOURS = {
    word: number
    for number, word in enumerate(listed("one two three four five six seven eight nine ten eleven twelve"), start=1)
}
_MINUTES = {"quarter": 15, "half": 30, "five": 5, "ten": 10, "twenty": 20, "twenty-five": 25}
_ORDINALS = {
    word: number
    for number, word in enumerate(
        listed(
            """first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth
        fifteenth sixteenth seventeenth eighteenth nineteenth twentieth"""
        ),
        start=1,
    )
}
_ISO = re.compile(r"(\d{4})[-/](0?\d|1[0-2])[-/]([0-2]?\d|3[01])$")

Time = tuple[int, int, bool]
"""Hour of 24 where it is known, else of 12; minute; whether the half of the day is known."""
Date = tuple[int | None, int | None, int | None]


def read_time(tokens: Sequence[Token], place: int) -> tuple[Time, int] | None:
    """`4:45`, `18:20`, `6:20 pm`, `nine in the evening`, `5 o'clock`, `a quarter to five`, `noon`."""
    words = [token.text.lower() for token in tokens[place : place + 8]]
    if words[0] in ("noon", "midday", "midnight"):
        return (0 if words[0] == "midnight" else 12, 0, True), place + 1
    if clock := _CLOCK.fullmatch(words[0]):
        hour, minute = int(clock[1]), int(clock[2])
        return _with_half(
            hour, minute, words, 1, place, known=hour > 12 or clock[1].startswith("0") and len(clock[1]) > 1
        )
    if spoken := _read_spoken(words):
        hour, minute, used = spoken
        return _with_half(hour, minute, words, used, place)
    said_hour, used = _hour(words, 0)
    if said_hour is None:
        return None
    hour, minute = said_hour, 0
    if words[used : used + 2] and words[used] == "." and _is_minute(words, used + 1):
        minute, used = int(words[used + 1]), used + 2  # `6.20 pm` is one number, see below
    if words[used : used + 1] in (["am"], ["pm"], ["o'clock"]) or _part_of_day(words, used):
        return _with_half(hour, minute, words, used + (words[used] == "o'clock"), place)
    return None


def _read_spoken(words: list[str]) -> tuple[int, int, int] | None:
    """(hour, minute, words used) of `a quarter to five`, `half past three`, `ten minutes past 4`."""
    start = 1 if words[0] == "a" else 0
    if start >= len(words):
        return None
    minute = _MINUTES.get(words[start])
    if minute is None and words[start].isdigit() and int(words[start]) < 60:
        minute = int(words[start])
    used = start + 1
    if minute == 20 and words[used : used + 2] == ["-", "five"]:
        minute, used = 25, used + 2
    elif minute == 20 and words[used : used + 1] == ["five"]:
        minute, used = 25, used + 1
    if minute is None:
        return None
    used += words[used : used + 1] in (["minutes"], ["minute"])
    if used >= len(words) or words[used] not in ("past", "to", "after", "before", "till"):
        return None
    hour, end = _hour(words, used + 1)
    if hour is None:
        return None
    return (hour, minute, end) if words[used] in ("past", "after") else ((hour - 1) or 12, 60 - minute, end)


def _hour(words: list[str], place: int) -> tuple[int | None, int]:
    word = words[place] if place < len(words) else ""
    if word in _HOURS:
        return _HOURS[word], place + 1
    return (int(word), place + 1) if word.isdigit() and 0 < int(word) <= 24 else (None, place)


def _is_minute(words: list[str], place: int) -> bool:
    return place < len(words) and len(words[place]) == 2 and words[place].isdigit()


def _part_of_day(words: list[str], place: int) -> str:
    if words[place : place + 3] in (["in", "the", "morning"],):
        return "am"
    if words[place : place + 3] in (["in", "the", "afternoon"], ["in", "the", "evening"]) or words[
        place : place + 2
    ] == ["at", "night"]:
        return "pm"
    return ""


def _with_half(
    hour: int, minute: int, words: list[str], used: int, place: int, *, known: bool = False
) -> tuple[Time, int] | None:
    if not (hour <= 24 and minute < 60):
        return None
    if words[used : used + 1] == ["o'clock"]:
        used += 1
    half = words[used] if words[used : used + 1] in (["am"], ["pm"]) else _part_of_day(words, used)
    if half:
        used += 1 if words[used] in ("am", "pm") else (2 if words[used] == "at" else 3)
        return (hour % 12 + 12 * (half == "pm"), minute, True), place + used
    return (hour % 24, minute, known), place + used


def read_date(tokens: Sequence[Token], place: int) -> tuple[Date, int] | None:
    """`June 3, 1942`, `the 3rd of June 1942`, `3 June`, `June 1942`, `October`, `2019-05-12`."""
    texts = [token.text for token in tokens[place : place + 7]]
    words = [text.lower() for text in texts]
    if iso := _ISO.match("".join(words[:5])):
        return (int(iso[1]), int(iso[2]), int(iso[3])), place + 5
    day, used = _day(words, 0)
    if day is not None:
        used += words[used : used + 1] == ["of"]
        if words[used : used + 1] and (month := _month(texts, used)):
            year, used = _year(words, used + 1)
            return (year, month, day), place + used
        return None
    month = _month(texts, 0)
    if month is None:
        return None
    day, used = _day(words, 1 + (words[1:2] == ["the"]))
    if day is None:
        used = 1
    year, used = _year(words, used)
    return (year, month, day), place + used


def _month(texts: list[str], place: int) -> int | None:
    text = texts[place]
    return _MONTHS.get(text.lower()) if text[0].isupper() or text.lower() not in ("may", "march", "mar") else None


def _day(words: list[str], place: int) -> tuple[int | None, int]:
    word = words[place] if place < len(words) else ""
    if word in _ORDINALS:
        return _ORDINALS[word], place + 1
    if word.isdigit() and len(word) <= 2 and 0 < int(word) <= 31:
        end = place + 1 + (words[place + 1 : place + 2] in (["st"], ["nd"], ["rd"], ["th"]))
        return int(word), end
    return None, place


def _year(words: list[str], place: int) -> tuple[int | None, int]:
    start = place + (words[place : place + 1] == [","])
    word = words[start] if start < len(words) else ""
    return (int(word), start + 1) if len(word) == 4 and word.isdigit() else (None, place)
