"""Replies as clauses, and what questions ask for."""

import pytest

from inbol_ray.scoring.question_form import NO_QUESTION, read_question
from inbol_ray.scoring.reply_tokens import QUOTE, clean, split_clauses


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ("**Answer:** I can\u2019t tell.", "i can not tell."),
        ("> It isn't possible", "it is not possible"),
        ("ASSISTANT: I'm sorry", "i am sorry"),
        ("\\boxed{\\text{B}}", "b"),
        ("<think>red?</think>We don't know", "we do not know"),
        ("dont know, cant say, won't try", "do not know, can not say, will not try"),
        ("un-answerable", "unanswerable"),
        ("It says 'Sorry' here", f"it says  {QUOTE}  here"),
        ('"Sorry, closed"', "sorry, closed"),
    ],
)
def test_dress_is_taken_off(reply, text):
    assert clean(reply) == text


def test_clauses_end_at_marks_and_joining_words():
    found = [
        (clause.tokens, clause.opens, clause.ends) for clause in split_clauses("It is dark, but I see 3.5 cats. No")
    ]
    assert found == [
        (["it", "is", "dark"], "^", ","),
        (["i", "see", "3.5", "cats"], ",but", "."),
        (["no"], ".", "$"),
    ]
    assert split_clauses("") == split_clauses("...") == []


def test_capitals_within_a_sentence_are_marked():
    (clause,) = split_clauses("Unknown Pleasures by Joy")
    assert clause.capitals == [False, True, False, True]
    for reply in ("NOT SURE", "I am not sure. Really"):
        assert not any(any(clause.capitals) for clause in split_clauses(reply))


def test_scripts_without_blanks_are_cut_into_characters():
    assert [clause.tokens for clause in split_clauses("\u6211\u4e0d\u77e5\u9053\u3002\u5bf9")] == [
        ["\u6211", "\u4e0d", "\u77e5", "\u9053"],
        ["\u5bf9"],
    ]


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("Is there a dog?", "yes_no"),
        ("How many dogs are there?", "how_many"),
        ("What does the sign say?", "say"),
        ("Who is it?", "who"),
        ("Which bus is it?", "which"),
        ("Describe the picture.", "describe"),
        ("\u6709\u51e0\u53ea\u732b\uff1f", "how_many"),
        ("Gibt es einen Hund?", "yes_no"),
        ("Brand?", "other"),
    ],
)
def test_what_a_question_asks_for(question, kind):
    assert read_question(question).kind == kind
    assert read_question(None) is read_question(" ") is NO_QUESTION


def test_words_of_the_question_are_known_by_their_stems():
    assert {"dog", "visib"} <= read_question("Are the dogs visible?").stems
