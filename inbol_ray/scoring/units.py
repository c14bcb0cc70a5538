"""Units of measure: tokens, a place -> the unit that stands there. One base unit a dimension. Source: ours; factors of SI."""

from collections.abc import Sequence

from inbol_ray.scoring.sentences import Token

_UNITS = """
    length 0.001 mm millimeter millimetre; length 0.01 cm centimeter centimetre; length 1 m meter metre; length 1000 km kilometer
    kilometre; length 0.0254 inch inches in; length 0.3048 ft foot feet; length 0.9144 yard yd; length 1609.344 mile mi;
    mass 0.001 mg milligram; mass 1 g gram gramme; mass 1000 kg kilo kilogram kilogramme; mass 453.59237 lb lbs pound;
    mass 28.349523 oz ounce; mass 1000000 ton tonne t; volume 0.001 ml milliliter millilitre; volume 0.01 cl centiliter centilitre;
    age 1 month; age 12 year; age 120 decade; age 1200 century centuries; volume 0.1 dl deciliter decilitre; volume 1 l liter litre; volume 3.785412 gallon gal; duration 1 second sec s;
    duration 60 minute min mins; duration 3600 hour hr hrs h; duration 86400 day; duration 604800 week; share 1 % percent;
    dollar 1 $ dollar usd bucks; euro 1 \u20ac euro eur; pound 1 \u00a3 gbp quid; yen 1 \u00a5 yen jpy; dollar 0.01 cent cents;
    power 1 w watt; power 1000 kw kilowatt; voltage 1 v volt; data 1 mb megabyte; data 1000 gb gigabyte; speed 1.609344 mph; speed 1 kmh kph; speed 3.6 mps; cup 1 cup; spoon 1 teaspoon tsp; spoon 3 tablespoon tbsp;
    area 1 m\u00b2 sqm; area 0.0001 cm\u00b2; area 1000000 km\u00b2; volume 1000 m\u00b3; volume 0.001 cm\u00b3;
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


def unit_at(tokens: Sequence[Token], place: int) -> tuple[str, int]:
    """The unit that starts here and where it ends; an empty text for none."""
    words = [token.text.lower() for token in tokens[place : place + 4]]
    if words[:1] == ["-"]:  # `a 10-meter pool`
        unit, end = unit_at(tokens, place + 1)
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
    if words[:1] and words[0] in ("square", "sq", "cubic") and len(words) > 1:
        power = "\u00b3" if words[0] == "cubic" else "\u00b2"
        unit, end = unit_at(tokens, place + 1)
        short = (
            {1.0: "m", 0.01: "cm", 1000.0: "km"}.get(UNITS[unit][1], "") if unit and UNITS[unit][0] == "length" else ""
        )
        return (short + power, end) if short + power in UNITS else ("", place)
    if words[:3] in (["m", "/", "s"], ["meters", "per", "second"], ["metres", "per", "second"]):
        return "mps", place + 3
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
