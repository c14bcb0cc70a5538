"""Metrics against the tables and traps of the published scorers, and against independent restatements."""

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inbol_ray.errors import DataError
from inbol_ray.rows import Question
from inbol_ray.scoring.answer_match import (
    entity_match,
    exact_match,
    first_sentence,
    is_unparsed,
    normalise_vqa,
    parse_choice,
    score_answer,
    vqa_accuracy,
)

ANSWERS = st.sampled_from(
    ["yes", "Yes.", "no", "the cat", "cat", "2", "two", "black-white", "unanswerable", "", "dont"]
)


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("none", "0"),
        ("Zero", "0"),
        ("ten", "10"),
        ("eleven", "eleven"),
        ("-5", "5"),
        ("black-white", "black white"),
        ("black - white", "black white"),
        ("x-ray - y-axis", "xray yaxis"),  # one mark that touches a blank deletes all of that mark
        ("x-ray; y", "x ray y"),  # and no other mark
        ("1,000", "1000"),
        ("1,000 black-white", "1000 blackwhite"),  # digit-comma-digit deletes every mark
        ("black,white", "black white"),
        ("3.5", "3.5"),
        ("yes.", "yes"),
        ("U.S.A.", "usa"),
        (".5", ".5"),
        ("5.", "5"),
        ("A man, the dog", "man dog"),
        ("the", ""),
        ("dont", "don't"),
        ("couldnt've", "couldn't've"),
        ("couldn'tve", "couldn't've"),
        ("couldntve", "couldntve"),  # lacks two apostrophes
        ("somebody'd", "somebodyd"),
        ("ow's'at", "'ow's'at"),
        ("its", "its"),
        ("Im", "im"),
        ("ive", "ive"),
        ("lets", "lets"),
        ("café", "café"),
        ("10:30", "10:30"),
        ("50%", "50%"),
        ("$5 & #1*", "$5 & #1*"),
        ("cats", "cats"),
        ("what?!", "what"),
        ("." * 40, "." * 8),  # at most 32 periods
        ("", ""),
    ],
)
def test_normalise_vqa(text, normalised):
    assert normalise_vqa(text) == normalised


MARKS = ';/[]"{}()=+\\_-><@`,?!'
NUMBER_WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


def restated(text: str) -> str:
    """Steps a to c and e of the normalisation, for texts without contractions."""
    doomed = {mark for mark in MARKS if f"{mark} " in text or f" {mark}" in text}
    if re.search("[0-9],[0-9]", text):
        doomed = set(MARKS)
    spaced = "".join("" if c in doomed else " " if c in MARKS else c for c in text)
    kept, num_dropped = "", 0
    for i, c in enumerate(spaced):
        if c == "." and not spaced[i + 1 : i + 2].isdigit() and num_dropped < 32:
            num_dropped += 1
        else:
            kept += c
    words = ["zero" if word == "none" else word for word in kept.lower().split()]
    words = [str(NUMBER_WORDS.index(word)) if word in NUMBER_WORDS else word for word in words]
    return " ".join(word for word in words if word not in ("a", "an", "the"))


@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [*MARKS, *"..  59", "a", "The", "an", "cat", "None", "zero", "Ten", "one", "$", "\u00e9", "." * 33]
        )
    ).map("".join)
)
def test_normalisation_restated(text):
    assert normalise_vqa(text) == restated(text)


@pytest.mark.parametrize("mode", ["always_normalise", "official"])
@pytest.mark.parametrize(("num_equal", "score"), [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (9, 1.0)])
def test_ten_references(num_equal, score, mode):
    references = ["red"] * num_equal + [f"other {k}" for k in range(10 - num_equal)]
    assert vqa_accuracy("red", references, mode) == score


def test_identical_references_are_compared_raw_by_the_official_scorer():
    for prediction in ("Yes", "yes."):
        assert vqa_accuracy(prediction, ["yes"] * 10, "official") == 0.0
        assert vqa_accuracy(prediction, ["yes"] * 10) == 1.0
        assert vqa_accuracy(prediction, ["yes"] * 9 + ["no"], "official") == 1.0
    assert vqa_accuracy("yes\n", ["yes\t"] * 10, "official") == 1.0


def test_few_references():
    assert vqa_accuracy("red", ["red"]) == 0.0
    assert vqa_accuracy("red", ["red", "red"]) == pytest.approx(1 / 3)
    with pytest.raises(DataError, match="at least one reference"):
        vqa_accuracy("red", [])


@settings(max_examples=200, deadline=None)
@given(prediction=ANSWERS, references=st.lists(ANSWERS, min_size=1, max_size=12), official=st.booleans())
def test_leave_one_out_restated(prediction, references, official):
    raw = official and len(set(references)) == 1
    said = prediction if raw else normalise_vqa(prediction)
    gold = references if raw else [normalise_vqa(reference) for reference in references]
    scores = [min(1, (gold[:i] + gold[i + 1 :]).count(said) / 3) for i in range(len(gold))]
    actual = vqa_accuracy(prediction, references, "official" if official else "always_normalise")
    assert math.isclose(actual, sum(scores) / len(scores), abs_tol=1e-12)
    assert 0.0 <= actual <= 1.0
    assert actual == vqa_accuracy(prediction, references[::-1], "official" if official else "always_normalise")


CHOICES = ["rock", "air", "A man", "u.s. army"]


@pytest.mark.parametrize(
    ("reply", "index"),
    [
        ("B", 1),
        ("b", 1),
        (" B ", 1),
        ("B.", 1),
        ("(b)", 1),
        ("B. air", 1),
        ("B) air", 1),
        ("B: air", 1),
        ("(B) air", 1),
        ("(B)", 1),
        ("The answer is B", 1),
        ("the answer is (B).", 1),
        ("The answer is B. Yes, the answer is B.", 1),
        ("AIR", 1),
        ("Air.", 1),
        ("a man", 2),
        ("U.S. Army", 3),  # U is beyond the choices, the text is not
        ("E", None),
        ("E. something", None),
        ("A.M. it is", None),
        ("A man is there", None),  # the article is no option letter
        ("the answer is a rock", None),
        ("The answer is Because", None),
        ("The answer is A or the answer is B", None),
        ("I don't know", None),
        ("rock or air", None),
        ("**B**", None),
        ("B-52", None),
        ("", None),
        ("  ", None),
    ],
)
def test_parse_choice(reply, index):
    assert parse_choice(reply, CHOICES) == index


def test_two_choices_with_the_same_text_are_not_told_apart():
    assert parse_choice("cat", ["cat", "Cat"]) is None


@pytest.mark.parametrize(
    ("reply", "index"),
    [
        ("A", 0),
        ("A. rock", 0),
        ("The answer is B.", 1),
        ("The answer is B!", 1),
        ("A.", None),
        ("(A)", None),
        ("A)", None),
        (" A", None),
        ("a", None),
        ("E", None),
        ("rock", None),
        ("The answer is A. The answer is A.", None),
    ],
)
def test_strict_llava(reply, index):
    assert parse_choice(reply, CHOICES, parser="strict_llava") == index


@given(index=st.integers(0, 25), form=st.sampled_from(["{}", "{}.", "({})", "{})", "{}: so", "The answer is {}"]))
def test_every_form_of_every_letter_is_read_back(index, form):
    choices = [f"choice number {k}" for k in range(26)]
    assert parse_choice(form.format(chr(ord("A") + index)), choices) == index
    expected = None if index else 0
    assert parse_choice(form.format(chr(ord("A") + index)), choices[:1]) == expected


@pytest.mark.parametrize(
    ("reply", "names", "contains", "exact"),
    [
        ("Cessna 172", ["Cessna 172"], True, True),
        ("the cessna 172.", ["Cessna 172"], True, True),
        ("It looks like a Cessna 172", ["Cessna 172"], True, False),
        ("It is a Cessna 1720", ["Cessna 172"], False, False),
        ("St. Bernard.", ["St. Bernard (dog breed)"], True, True),
        ("A dog. It may be a beagle", ["beagle"], False, False),
        ("A dog\nbeagle", ["beagle"], False, False),
        ("Mount Fuji", ["Fuji", "Mount Fuji"], True, True),
        ("Boeing 737-800", ["Boeing 737 800"], True, True),
        ("cat", ["cats"], False, False),
        ("(band)", ["(band)"], True, True),
        ("", ["cat"], False, False),
        ("cat", [""], False, False),
        ("cat", [], False, False),
    ],
)
def test_entity_match(reply, names, contains, exact):
    assert entity_match(reply, names) is contains
    assert entity_match(reply, names, mode="exact") is exact


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Mt. Fuji. It is high.", "Mt. Fuji."),
        ("F. Scott Fitzgerald! Yes", "F. Scott Fitzgerald!"),
        ("Chanel No. 5. Nice", "Chanel No. 5."),
        ("3.5 km", "3.5 km"),
        ("\nFuji\nhigh", "Fuji"),
        ("", ""),
    ],
)
def test_first_sentence(text, sentence):
    assert first_sentence(text) == sentence


def test_exact_match():
    assert exact_match(" Yes. ", "yes")
    assert exact_match("no...", "no")
    assert not exact_match("yes it is", "yes")
    assert not exact_match("the cat", "cat")


def ask(kind, **fields) -> Question:
    return Question("d:s:1", "d", "s", ["x.jpg"], "Which?", kind, **fields)


def test_score_answer_by_kind():
    assert score_answer("Red.", ask("vqa10", gold_answers=["red"] * 2 + ["blue"] * 8)) == (0.6, False)
    assert score_answer("B", ask("mc", choices=CHOICES, gold_index=1)) == (1.0, False)
    assert score_answer("A", ask("mc", choices=CHOICES, gold_index=1)) == (0.0, False)
    assert score_answer("perhaps", ask("mc", choices=CHOICES, gold_index=1)) == (0.0, True)
    assert score_answer("a Cessna", ask("entity", gold_answers=["Cessna"])) == (1.0, False)
    assert score_answer("Yes.", ask("exact", gold_answers=["no", "yes"])) == (1.0, False)
    assert score_answer("The Red-ball.", ask("open", gold_answers=["blue", "red ball"])) == (1.0, False)
    assert score_answer("a red ball there", ask("open", gold_answers=["blue", "red ball"])) == (0.0, False)
    for kind in ("vqa10", "mc", "entity", "exact", "open"):
        assert score_answer(" \n", ask(kind, gold_answers=["0"], choices=CHOICES, gold_index=0)) == (0.0, True)


@pytest.mark.parametrize(
    "question", [ask("essay", gold_answers=["x"]), ask("open"), ask("vqa10"), ask("entity"), ask("mc", choices=CHOICES)]
)
def test_questions_that_cannot_be_scored_raise(question):
    assert not is_unparsed("B", question)
    with pytest.raises(DataError, match="d:s:1"):
        score_answer("B", question)
