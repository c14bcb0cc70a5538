"""Numbers, measures, times and dates in a text, as values to compare: tokens -> values. English, by rule.

`21`, `twenty-one` and `a dozen` are numbers; `10 cm`, `100 millimetres` and `half a kilogram` measures, in one base unit a
dimension; `4:45`, `a quarter to five` and `6:20 p.m.` times; `June 3, 1942` and `2019-05-12` dates. Source: ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from inbol_ray.scoring.calendar_forms import read_date, read_time
from inbol_ray.scoring.number_words import read_number
from inbol_ray.scoring.sentences import Token
from inbol_ray.scoring.units import UNITS, unit_at

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


_MONEY = frozenset({"dollar", "euro", "pound"})
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
    if units == {"celsius", "fahrenheit"}:
        return abs(_celsius(said) - _celsius(wanted)) < 0.6
    if units == {"mass", "pound"}:  # `80 pounds` may be money
        return _close(said.fields[0], wanted.fields[0])
    if len(units) == 2 and "" not in units and not ("degree" in units and units & {"celsius", "fahrenheit"}):
        return False
    if "" in units and len(units) == 2:
        return _close(said.fields[0], wanted.fields[0])
    return _close(said.number, wanted.number)


def _celsius(value: Value) -> float:
    return value.number if value.unit == "celsius" else (value.number - 32) / 1.8


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
    if _is_minus(tokens, place):
        value = _value_at(tokens, place + 1)
        return (
            value and replace(value, number=-value.number, fields=(-value.fields[0],), start=place)
            if value and value.kind in ("number", "measure")
            else value
        )
    prefix = tokens[place].text if tokens[place].text in _PREFIXED else ""
    start = place + bool(prefix)
    number, end = read_number(tokens, start)
    if number is None:
        return None
    unit, after = (prefix, end) if prefix else unit_at(tokens, end)
    if not unit:
        return Value("number", number, "", (number,), place, end)
    dimension, factor = UNITS[unit]
    amount, shown = number * factor, number
    if [token.text.lower() for token in tokens[after : after + 3]] == ["and", "a", "half"]:  # `an hour and a half`
        return Value("measure", amount + 0.5 * factor, dimension, (number + 0.5,), place, after + 3)
    more = read_number(tokens, after + (after < len(tokens) and tokens[after].text.lower() == "and"))
    if more[0] is not None and dimension in ("length", "mass", "duration", "volume"):
        smaller, further = unit_at(tokens, more[1])
        if smaller and UNITS[smaller][0] == dimension and UNITS[smaller][1] < factor:
            amount, after = amount + more[0] * UNITS[smaller][1], further
    if more[0] is not None and dimension in _MONEY and unit_at(tokens, more[1])[0] in ("cent", "cents", "pence"):
        amount, shown, after = amount + more[0] / 100, shown + more[0] / 100, unit_at(tokens, more[1])[1]
    return Value("measure", amount, dimension, (shown,), place, after)


def _is_minus(tokens: Sequence[Token], place: int) -> bool:
    token, after = tokens[place], tokens[place + 1 : place + 2]
    if token.text.lower() == "minus":
        return True
    is_apart = place == 0 or tokens[place - 1].end < token.start
    return token.text == "-" and is_apart and bool(after) and token.end == after[0].start and after[0].text[0].isdigit()
