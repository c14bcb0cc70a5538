"""Numbers, measures, times and dates in texts."""

import pytest

from inbol_ray.scoring.quantities import read_values, same_value
from inbol_ray.scoring.sentences import clean, tokenise


def read(text):
    return read_values(tokenise(clean(text)))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("21", "twenty-one"),
        ("205", "two hundred and five"),
        ("1,200", "1200"),
        ("12", "a dozen"),
        ("500 g", "half a kilogram"),
        ("90 minutes", "an hour and a half"),
        ("1.5 m", "150 cm"),
        ("6:20 pm", "18:20"),
        ("9 pm", "nine in the evening"),
        ("4:45", "a quarter to five"),
        ("June 3, 1942", "the 3rd of June 1942"),
        ("2019-05-12", "May 12th, 2019"),
        ("25 degrees Celsius", "25\u00b0C"),
        ("0\u00b0C", "32 degrees Fahrenheit"),
        ("-5\u00b0C", "minus 5 degrees Celsius"),
        ("60 m\u00b2", "60 square meters"),
        ("$0.50", "50 cents"),
        ("5 feet 3 inches", "63 inches"),
        ("1/2 cup", "half a cup"),
    ],
)
def test_two_ways_of_saying_a_value(one, other):
    (first,), (second,) = read(one), read(other)
    assert same_value(first, second) and same_value(second, first)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("21", "12"),
        ("50", "150"),
        ("10 cm", "10 mm"),
        ("2 kg", "2 pounds"),
        ("$20", "20 euros"),
        ("6:20 am", "18:20"),
        ("3:30", "3:03"),
        ("May 12, 2019", "May 21, 2019"),
        ("May 12, 2019", "2019"),
        ("60 mph", "60 km/h"),
    ],
)
def test_different_values(one, other):
    (first,), (second,) = read(one), read(other)
    assert not same_value(first, second)


def test_a_pronoun_is_no_number():
    assert read("the one on the left") == [] and read("another one, I missed one") == []
    assert [value.number for value in read("one dog")] == [1]
