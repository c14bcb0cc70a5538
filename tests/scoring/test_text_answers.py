"""Names of entities, GQA's equality and A-OKVQA's direct answers: tables and independent restatements."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inbol_ray.errors import DataError
from inbol_ray.scoring.text_answers import (
    direct_answer_accuracy,
    entity_match,
    exact_match,
    first_sentence,
    normalised_match,
)


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
        ("Amanita muscaria!", ["Amanita muscaria"], True, True),
        ("CR\u00c8ME BR\u00dbL\u00c9E", ["cr\u00e8me br\u00fbl\u00e9e"], True, True),
        ("creme brulee", ["cr\u00e8me br\u00fbl\u00e9e"], False, False),  # no folding of accents
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


WORDS = st.lists(st.sampled_from(["red", "Fuji", "172", "dog"]), min_size=1, max_size=6)


@given(WORDS, WORDS)
def test_contains_is_a_run_of_whole_words(said, name):
    runs = [said[i : i + len(name)] for i in range(len(said))]
    assert entity_match(" ".join(said), [" ".join(name)]) is (name in runs)


def test_gqa():
    assert exact_match(" Yes. ", "yes")
    assert exact_match("no...", "no")
    assert not exact_match("yes it is", "yes")
    assert not exact_match("the cat", "cat")
    assert not exact_match("cats", "cat")
    assert not exact_match("'yes'", "yes")


@given(st.text(alphabet="aA. \u00c9\n", max_size=6), st.text(alphabet="aA. \u00e9\n", max_size=6))
def test_gqa_restated(reply, gold):
    def strip(text):
        text = text.strip().lower()
        while text.endswith("."):
            text = text[:-1]
        return text

    assert exact_match(reply, gold) is (strip(reply) == strip(gold))


@pytest.mark.parametrize(
    ("reply", "references", "score"),
    [
        ("cab", ["cab", "taxi", "cab", "cab"], 1.0),  # nothing is left out
        ("cab", ["cab"] * 2 + ["taxi"] * 8, 2 / 3),
        ("taxi ", ["taxi"], 1 / 3),
        ("Cab", ["cab"] * 10, 0.0),  # nothing is normalised
        ("cab.", ["cab"] * 10, 0.0),
        ("two", ["2"] * 10, 0.0),
    ],
)
def test_aokvqa_direct_answers(reply, references, score):
    assert direct_answer_accuracy(reply, references, normalise=False) == pytest.approx(score)


@pytest.mark.parametrize(
    ("reply", "references", "score"),
    [
        ("Cab", ["cab"] * 10, 1.0),
        ("cab.", ["Cab", "taxi", "taxi"], 1 / 3),
        ("a cab", ["cab"] * 10, 1.0),
        ("two", ["2"] * 10, 1.0),
        ("2", ["two"] * 10, 1.0),
        ("cabs", ["cab"] * 10, 0.0),
    ],
)
def test_our_rule_for_direct_answers(reply, references, score):
    assert direct_answer_accuracy(reply, references, normalise=True) == pytest.approx(score)


def test_a_direct_answer_needs_references():
    with pytest.raises(DataError, match="at least one reference"):
        direct_answer_accuracy("cab", [], normalise=True)


ANSWERS = st.sampled_from(["cab", "Cab", "cab ", "taxi", "", "2"])


@given(ANSWERS, st.lists(ANSWERS, min_size=1, max_size=10))
def test_aokvqa_restated(reply, references):
    equal = [reference for reference in references if reference == reply.strip()]
    assert math.isclose(direct_answer_accuracy(reply, references, normalise=False), min(1, len(equal) / 3))


def test_our_own_open_rule_normalises_both_sides():
    assert normalised_match("The Red-ball.", "red ball")
    assert not normalised_match("a red ball there", "red ball")
