"""What counts as nothing, and what is an option that only looks like it."""

import pytest

from inbol_ray.corpora.missing_values import is_missing, lettered_options, says_nothing


@pytest.mark.parametrize(
    ("options", "answer", "kept"),
    [
        (["yes", "no", "nan", "nan"], "B", "AB"),
        (["yes", "no", "NaN", ""], "B", "AB"),
        (["yes", "no", None, float("nan")], "B", "AB"),
        (["one", "two", "None"], "A", "ABC"),  # the option of a counting question
        (["None", "two", "one"], "A", "ABC"),
        (["yes", "no", "None", "None"], "B", "AB"),
        (["yes", "no", "N/A", "n/a"], "B", "AB"),
        (["0", "nan", "1"], "B", "ABC"),  # the right one is real
        (["red", "red"], "A", "AB"),
    ],
)
def test_lettered_options(options, answer, kept):
    values = dict(zip("ABCD", options, strict=False))
    assert "".join(lettered_options(values, answer)) == kept


def test_hints():
    assert all(map(says_nothing, ["", " ", "nan", "NaN", "None", "null", "N/A", "<NA>"]))
    assert not any(map(says_nothing, ["0", "no", "Nana's cup", "none of these"]))


def test_numbers():
    assert is_missing(None) and is_missing(float("nan"))
    assert not any(map(is_missing, [0, 0.0, "", "nan", [], False]))
