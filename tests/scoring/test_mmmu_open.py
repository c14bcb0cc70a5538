"""MMMU's rule for open answers on its traps, and against an independent restatement."""

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inbol_ray.scoring.mmmu_open import mmmu_open_match


@pytest.mark.parametrize(
    ("reply", "gold", "right"),
    [
        ("4.5", ["4.5"], True),
        ("4.50", ["4.5"], True),
        ("4.504", ["4.5"], True),  # two decimals
        ("4.51", ["4.5"], False),
        ("1,000", ["1000"], True),
        ("The result is 1,000 dollars", ["1000"], True),
        ("The answer is -3", ["-3"], True),
        ("The answer is -3", ["3"], False),
        ("x = 2 = 3", ["3"], True),  # on the last line the tail after the last equals sign counts
        ("x = 2\nit is 5", ["2"], False),  # on no other
        ("x = 2\nno more", ["2"], True),  # without any tail the whole reply counts
        ("it is 1.5e3 volts", ["1500"], True),
        ("between 3-5", ["5"], False),  # a range reads as 3 and -5
        ("so it is 3-5", ["-5"], True),
        ("The total is $30", ["30"], True),
        ("transformer", ["Transformer"], True),
        ("The circuit is a transformer bridge", ["transformer"], True),  # contained
        ("a transform", ["transformer"], False),
        ("the answer is b", ["b"], True),
        ("the answer is abc", ["b"], False),  # one letter must stand beside a blank
        ("the answer is a bc", ["b"], True),
        ("e coli", ["E"], True),
        ("24/7", ["24/7"], True),
        ("seven", ["7"], False),  # number words stay words
        ("U.S.A.", ["u.s.a"], True),  # the outer period goes
        ("caf\u00e9", ["Caf\u00c9"], True),
        ("perhaps 2", ["1", "2"], True),
        ("is", ["is"], True),
        ("is ", [""], True),  # an empty gold text is in everything
        ("nan", ["nan"], False),
        ("inf", ["infinity"], True),
        ("1e999", ["inf"], True),
    ],
)
def test_hard_cases(reply, gold, right):
    assert mmmu_open_match(reply, gold) is right


@pytest.mark.parametrize("words", ["could be", "so", "is", "thus", "therefore", "final", "answer", "result", "="])
def test_only_what_follows_such_words_counts(words):
    assert mmmu_open_match(f"12 people {words} 7", ["7"])
    assert not mmmu_open_match(f"12 people {words} 7", ["12"])
    assert mmmu_open_match("12 people and 7", ["12"])


def restated_tails(reply: str) -> list[str]:
    lines = re.split("\n", reply.strip().strip(".").lower())
    marks = ["could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result "]
    tails = []
    for line in lines:
        keys = [*marks, "="] if line is lines[-1] else marks
        shortest = None
        for tail in (line.split(key)[-1].strip() for key in keys if key in line):
            if shortest in (None, "") or len(tail) < len(shortest):
                shortest = tail
        if shortest and shortest not in list(":,.!?;'"):
            tails.append(shortest)
    return tails or ["\n".join(lines)]


def restated_forms(text: str) -> list:
    try:
        return [round(float(text.strip().replace(",", "")), 2)]
    except ValueError:
        text = text.strip().lower()
    return [text] if len(text) != 1 else [" " + text, text + " "]


NUMBER = (
    r"-?\b\d{1,3}(?:,\d{3})+\b",
    r"-?\d+(?:\.\d+)?[eE][+-]?\d+",
    r"-?(?:\d+\.\d+|\.\d+|\d+\b)(?![eE][+-]?\d+)(?![,\d])",
)


def restated_match(reply: str, gold: list[str]) -> bool:
    said = restated_tails(reply)
    said = said + [number for tail in said for pattern in NUMBER for number in re.findall(pattern, tail)]
    said = [form for text in said for form in restated_forms(text)]
    gold_forms = [form for text in gold for form in restated_forms(text)]
    for one in said:
        for other in gold_forms:
            both_numbers = isinstance(one, float) and isinstance(other, float)
            if both_numbers and math.isclose(one, other, rel_tol=0, abs_tol=0):
                return True
            if isinstance(one, str) and isinstance(other, str) and one.find(other) >= 0:
                return True
    return False


PIECES = ["so ", "is ", "The answer ", "result ", "=", "\n", ". ", ".", ",", "-", "e3", " ", "b", "red", "Red ", ":"]
PIECES += ["1", "2", "3", "000", "\u0130", "\u00b2"]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=10).map("".join)


@settings(max_examples=1000, deadline=None)
@given(TEXTS, st.lists(st.lists(st.sampled_from(PIECES), max_size=3).map("".join), min_size=1, max_size=3))
def test_restated(reply, gold):
    assert mmmu_open_match(reply, gold) == restated_match(reply, gold)
