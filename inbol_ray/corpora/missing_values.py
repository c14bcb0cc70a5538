"""What the forms of a corpus write where there is nothing: value of a field -> is it missing? Pure functions.

pandas writes an empty cell as a null, as the number NaN or, once a column was turned into text, as `nan`: so do Parquet
copies of MMBench and MMStar. `None` is what many a counting question has for an option, and stays one.
"""

import string
from collections.abc import Mapping
from typing import Any

_NOT_A_NUMBER = "nan"
_WORDS = frozenset({_NOT_A_NUMBER, "none", "null", "n/a", "na", "<na>"})


def is_missing(value: Any) -> bool:
    """Whether a field holds nothing: null, or the number NaN."""
    return value is None or (isinstance(value, float) and value != value)


def says_nothing(text: str) -> bool:
    """Whether a text that a question can do without is blank or one of the words for a missing value."""
    return not text.strip() or text.strip().casefold() in _WORDS


def reads_nan(text: str) -> bool:
    """Whether a text is what pandas makes of an empty cell in a column of texts."""
    return text.strip().casefold() == _NOT_A_NUMBER


def lettered_options(values: Mapping[str, Any], answer: object) -> dict[str, str]:
    """The options in columns `A` to `Z`, by letter, without those that are missing.

    Missing is what is no text or blank, what reads `nan`, and a word for nothing (`None`, `N/A`) that several options
    share; never the option of the letter `answer`, since it is the right one.
    """
    texts = {
        letter: value
        for letter in string.ascii_uppercase
        if isinstance(value := values.get(letter), str) and value.strip()
    }
    words = {letter: text.strip().casefold() for letter, text in texts.items()}
    shared = {word for word in words.values() if word in _WORDS and list(words.values()).count(word) > 1}
    right = answer.strip() if isinstance(answer, str) else None
    return {
        letter: text
        for letter, text in texts.items()
        if letter == right or (words[letter] != _NOT_A_NUMBER and words[letter] not in shared)
    }
