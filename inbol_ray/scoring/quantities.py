"""Numbers, measures, times and dates in a text, as values to compare: tokens -> values. English, by rule.

`21`, `twenty-one` and `a dozen` are numbers; `10 cm`, `100 millimetres` and `half a kilogram` measures, in one base unit a
dimension; `4:45`, `a quarter to five` and `6:20 p.m.` times; `June 3, 1942` and `2019-05-12` dates. Source: ours.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from inbol_ray.scoring.calendar_forms import read_date, read_time
from inbol_ray.scoring.sentences import Token

Kind = Literal["number", "measure", "time", "date"]


@dataclass(frozen=True, slots=True)
class Value:
    """A value and the tokens [start, end) that say it.

    `number` is in the dimension's base unit; `unit` is the dimension (`length`), empty for a plain number; `fields` are a
    time's (hour, minute, is_24h) or a date's (year, month, day), None where not said.
    """

    kind: Kind
    number: float
    unit: str
    fields: tuple
    start: int
    end: int


_SMALL = {
    word: number
    for number, word in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
            "twenty",
        ]
    )
}
_TENS = {
    word: 10 * number
    for number, word in enumerate(
        ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], start=2
    )
}
_SCALES = {"hundred": 100, "thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}
_GROUPS = {"couple": 2, "pair": 2, "dozen": 12, "trio": 3, "duo": 2, "quartet": 4, "twice": 2, "both": 2, "single": 1}
_POINTING = frozenset(
    ["the", "this", "that", "each", "every", "another", "which", "no", "any", "right", "left", "other"]
)
_DIGITS = re.compile(r"\d[\d,]*(?:\.\d+)?")

_UNITS = """
    length 0.001 mm millimeter millimetre; length 0.01 cm centimeter centimetre; length 1 m meter metre; length 1000 km kilometer
    kilometre; length 0.0254 inch inches in; length 0.3048 ft foot feet; length 0.9144 yard yd; length 1609.344 mile mi;
    mass 0.001 mg milligram; mass 1 g gram gramme; mass 1000 kg kilo kilogram kilogramme; mass 453.59237 lb lbs pound;
    mass 28.349523 oz ounce; mass 1000000 ton tonne t; volume 0.001 ml milliliter millilitre; volume 0.01 cl centiliter centilitre;
    age 1 month; age 12 year; volume 0.1 dl deciliter decilitre; volume 1 l liter litre; volume 3.785412 gallon gal; duration 1 second sec s;
    duration 60 minute min mins; duration 3600 hour hr hrs h; duration 86400 day; duration 604800 week; share 1 % percent;
    dollar 1 $ dollar usd bucks; euro 1 \u20ac euro eur; pound 1 \u00a3 gbp quid; yen 1 \u00a5 yen jpy; dollar 0.01 cent cents;
    power 1 w watt; power 1000 kw kilowatt; voltage 1 v volt; data 1 mb megabyte; data 1000 gb gigabyte; mph 1 mph; kmh 1 kmh kph;
    celsius 1 celsius; fahrenheit 1 fahrenheit; degree 1 \u00b0 degree
"""


def _read_units() -> dict[str, tuple[str, float]]:
    units: dict[str, tuple[str, float]] = {}
    for entry in _UNITS.replace("\n", " ").split(";"):
        dimension, factor, *names = entry.split()
        for name in names:
            units[name] = units[name + "s"] = (dimension, float(factor))
    return units


UNITS = _read_units()
"""Unit -> (dimension, factor to its base unit). Months and years are left out: they are mostly dates."""
_PREFIXED = frozenset("$\u20ac\u00a3\u00a5")


def read_values(tokens: Sequence[Token]) -> list[Value]:
    """Values in order; of a time, date or measure the number in it is not given again."""
    found: list[Value] = []
    place = 0
    while place < len(tokens):
        value = _value_at(tokens, place)
        if value is None:
            place += 1
        else:
            found.append(value)
            place = value.end
    return found


def same_value(said: Value, wanted: Value) -> bool:
    """Whether a value is the wanted one. A unit or field that one side leaves out does not tell them apart, nor do
    degrees without a scale; a time without a.m. or p.m. fits either."""
    if wanted.kind in ("time", "date"):
        return said.kind == wanted.kind and _same_fields(said, wanted)
    if said.kind not in ("number", "measure"):
        return False
    units = {said.unit, wanted.unit}
    if len(units) == 2 and "" not in units and not ("degree" in units and units & {"celsius", "fahrenheit"}):
        return False
    if "" in units and len(units) == 2:
        return _close(said.fields[0], wanted.fields[0])
    return _close(said.number, wanted.number)


def _close(one: float, other: float) -> bool:
    return abs(one - other) <= 1e-6 * max(1.0, abs(one), abs(other))


def _same_fields(said: Value, wanted: Value) -> bool:
    if wanted.kind == "date":
        pairs = list(zip(said.fields, wanted.fields, strict=True))
        shared = [one == other for one, other in pairs if None not in (one, other)]
        # Of a day the month must be said too, of a month nothing else.
        return bool(shared) and all(shared) and all(one is not None for one, other in pairs[1:] if other is not None)
    (hour, minute, exact), (other_hour, other_minute, other_exact) = said.fields, wanted.fields
    if minute != other_minute:
        return False
    return hour == other_hour if exact and other_exact else hour % 12 == other_hour % 12


def _value_at(tokens: Sequence[Token], place: int) -> Value | None:
    if (timed := read_time(tokens, place)) is not None:
        return Value("time", 0.0, "", timed[0], place, timed[1])
    if (dated := read_date(tokens, place)) is not None:
        return Value("date", 0.0, "", dated[0], place, dated[1])
    prefix = tokens[place].text if tokens[place].text in _PREFIXED else ""
    start = place + bool(prefix)
    number, end = read_number(tokens, start)
    if number is None:
        return None
    unit, after = (prefix, end) if prefix else _unit_at(tokens, end)
    if not unit:
        return Value("number", number, "", (number,), place, end)
    dimension, factor = UNITS[unit]
    value, shown = number * factor, number
    if [token.text.lower() for token in tokens[after : after + 3]] == ["and", "a", "half"]:  # `an hour and a half`
        return Value("measure", value + 0.5 * factor, dimension, (number + 0.5,), place, after + 3)
    more = read_number(tokens, after + (after < len(tokens) and tokens[after].text.lower() == "and"))
    if more[0] is not None and dimension in ("length", "mass", "duration", "volume"):
        smaller, further = _unit_at(tokens, more[1])
        if smaller and UNITS[smaller][0] == dimension and UNITS[smaller][1] < factor:
            value, after = value + more[0] * UNITS[smaller][1], further
    return Value("measure", value, dimension, (shown,), place, after)


def _unit_at(tokens: Sequence[Token], place: int) -> tuple[str, int]:
    """The unit that starts here and where it ends; an empty text for none."""
    words = [token.text.lower() for token in tokens[place : place + 4]]
    if words[:1] == ["-"]:  # `a 10-meter pool`
        unit, end = _unit_at(tokens, place + 1)
        return (unit, end) if unit else ("", place)
    if words[:2] in (["a", "half"],):
        return "", place
    if words[:3] in (["miles", "per", "hour"], ["miles", "an", "hour"], ["mile", "per", "hour"]):
        return "mph", place + 3
    if words[:3] in (
        ["km", "/", "h"],
        ["kilometers", "per", "hour"],
        ["kilometres", "per", "hour"],
        ["km", "per", "hour"],
    ):
        return "kmh", place + 3
    if words[:1] and words[0] in ("\u00b0", "degree", "degrees"):
        scale = words[1] if len(words) > 1 else ""
        if scale in ("c", "celsius", "centigrade"):
            return "celsius", place + 2
        return ("fahrenheit", place + 2) if scale in ("f", "fahrenheit") else ("degree", place + 1)
    if not words or words[0] not in UNITS:
        return "", place
    if words[0] == "in" and len(words) > 1 and words[1].isalpha():  # `two in the pond`
        return "", place
    return words[0], place + 1


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
        following = [token.text.lower() for token in tokens[place + 1 : place + 4]]
        for skipped in (1, 2):  # `half a kilogram`, `half of a kilogram`, `half an hour`
            if following[:skipped] in (["a"], ["an"], ["of", "a"]) and following[skipped : skipped + 1] != []:
                if following[skipped] in UNITS:
                    return part, place + 1 + skipped
                if following[skipped] in _GROUPS:
                    return part * _GROUPS[following[skipped]], place + 2 + skipped
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
    return _scaled(total + part, tokens, end)
