"""Refusals that a benchmark declares: options, words, letters, and the right answer that the options lack."""

import json

import pytest

from inbol_ray.config.sampling import ScoringRules
from inbol_ray.rows import Question
from inbol_ray.scoring.outcome import judge_reply

MISTAKEN = pytest.mark.xfail(reason="a known mistake of the refusal network", strict=True)
CHOICES = ["cat", "Can't be determined", "None of the above"]


def ask(choices=CHOICES, gold_index=2, answerable=False, dataset="humble", **declared) -> Question:
    gold = [] if gold_index is None else [choices[gold_index]]
    meta = json.dumps(declared)
    return Question(
        "d:s:1", dataset, "s", [], "What is it?", "mc", gold, list(choices), gold_index, None, answerable, meta
    )


def judge(reply: str, question: Question) -> str:
    return judge_reply(reply, question).kind


@pytest.mark.parametrize(
    "reply", ["C", "c", "(C)", "C. None of the above", "None of the above.", "The answer is C", "I don't know."]
)
@pytest.mark.parametrize("rules", ["ours", "official"])
def test_the_declared_option_is_a_refusal(reply, rules):
    scoring = ScoringRules(rules=rules)
    assert judge_reply(reply, ask(refusal_index=2), scoring=scoring).kind == "refused"
    assert judge_reply(reply, ask(refusal_index=2, gold_index=0, answerable=True), scoring=scoring).kind == "refused"


@pytest.mark.parametrize("reply", ["A", "B", "B. Can't be determined", "The answer is B"])
def test_no_other_option_refuses_whatever_it_says(reply):
    assert judge(reply, ask(refusal_index=2)) == "wrong"
    assert judge("A", ask(refusal_index=2, gold_index=0, answerable=True)) == "correct"


def test_without_a_declaration_the_option_is_an_answer_like_any_other():
    assert judge("C", ask()) == "wrong"
    assert judge("C", ask(answerable=True)) == "correct"
    # The meta of a user's own data is the user's.
    assert judge("C", ask(answerable=True, dataset="own", refusal_index=2)) == "correct"


OFFERED = {"refusal_texts": ["None of the above", "It\u2019s irrelevant."], "refusal_letter": "F"}


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        ("F. None of the above", "refused"),
        ("**F**", "refused"),
        ("(F)", "refused"),
        ("f", "wrong"),
        ("F.B.I.", "wrong"),
        ("Four", "wrong"),
        ("None of the above. Both are wrong.", "refused"),
        ("Answer: none of the above", "refused"),
        ("The correct answer is F.", "refused"),
        ("it's irrelevant", "refused"),
        ("None of the aboveground ones", "wrong"),
        ("A, not none of the above", "wrong"),
        ("B", "wrong"),
    ],
)
def test_declared_words_and_letter(reply, outcome):
    assert judge(reply, ask(["cat", "bus"], None, **OFFERED)) == outcome


def test_the_masked_answer_is_right_on_a_question_whose_options_lack_it():
    question = ask(["cat", "hen"], None, masked_answer="a red bus")
    assert judge_reply("A red bus.", question).score == 1.0
    assert judge("A red bus.", question) == "correct"
    assert judge("bus", question) == judge("A", question) == "wrong"


def test_an_option_that_reads_like_a_declared_refusal_is_an_option():
    question = ask(["cat", "None of the above"], 1, answerable=True, **OFFERED)
    assert judge("None of the above", question) == judge("B", question) == "correct"
    assert judge("F. None of the above", question) == "refused"


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        ('{"text": " ", "count": 0, "number": "0", "more": null}', "refused"),
        ('```json\n{"text": ""}\n```', "refused"),
        ('{"text": "a"}', "wrong"),
        ("{}", "refused"),
        ("{", "wrong"),
    ],
)
def test_an_object_that_holds_nothing(reply, outcome):
    assert judge(reply, ask([], None, empty_object_refuses=True)) == outcome


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param('{"text": " ", "count": 0, "number": "0", "more": null}', marks=MISTAKEN),
        '```json\n{"text": ""}\n```',
        '{"text": "a"}',
        "{}",
        "{",
    ],
)
def test_an_object_that_holds_nothing_refuses_nothing_elsewhere(reply):
    assert judge(reply, ask([], None)) == "wrong"
