"""Which rule scores which question."""

import json

import pytest

from inbol_ray.config.sampling import ScoringRules
from inbol_ray.errors import DataError
from inbol_ray.rows import Question
from inbol_ray.scoring.answer_match import is_unparsed, score_answer

OFFICIAL = ScoringRules(rules="official")
CHOICES = ["rock", "air", "A man", "u.s. army"]


def ask(kind, dataset="d", meta=None, **fields) -> Question:
    return Question("d:s:1", dataset, "s", ["x.jpg"], "Which?", kind, meta=json.dumps(meta or {}), **fields)


def ask_choice(dataset="d", meta=None, gold_index=1, choices=CHOICES) -> Question:
    return ask("mc", dataset, meta, choices=list(choices), gold_index=gold_index)


def test_by_kind():
    assert score_answer("Red.", ask("vqa10", gold_answers=["red"] * 2 + ["blue"] * 8)) == (0.6, False)
    assert score_answer("B", ask_choice()) == (1.0, False)
    assert score_answer("A", ask_choice()) == (0.0, False)
    assert score_answer("perhaps", ask_choice()) == (0.0, True)
    assert score_answer("a Cessna", ask("entity", gold_answers=["Cessna"])) == (1.0, False)
    assert score_answer("Yes.", ask("exact", gold_answers=["no", "yes"])) == (1.0, False)
    assert score_answer("The Red-ball.", ask("open", gold_answers=["blue", "red ball"])) == (1.0, False)
    assert score_answer("a red ball there", ask("open", gold_answers=["blue", "red ball"])) == (0.0, False)


def test_official_rules_are_those_of_the_corpus():
    def both(reply, question):
        return score_answer(reply, question), score_answer(reply, question, OFFICIAL)

    yes = {"gold_answers": ["yes"] * 10}
    assert both("Yes", ask("vqa10", "vqav2", **yes)) == ((1.0, False), (0.0, False))
    assert both("Yes", ask("vqa10", "vizwiz", **yes)) == ((1.0, False), (1.0, False))
    zero = {"gold_answers": ["0"] * 9 + ["none"]}
    assert both("none", ask("vqa10", "vizwiz", **zero)) == ((1.0, False), (1.0, False))
    assert both("none", ask("vqa10", "vizwiz", gold_answers=["none"] * 10)) == ((1.0, False), (0.0, False))
    assert both("(B)", ask_choice("scienceqa")) == ((1.0, False), (0.0, True))
    assert both("(B)", ask_choice("aokvqa")) == ((1.0, False), (1.0, False))
    mmmu = ask_choice("mmmu", {"gold": ["B"]})
    assert both("I say (B) to that", mmmu) == ((0.0, True), (1.0, False))
    assert both("B. air", mmmu) == ((1.0, False), (0.0, True))
    assert both("Look at B", ask_choice("mmbench")) == ((0.0, True), (1.0, False))
    assert both("the answer is a tie", ask_choice("mmbench", gold_index=0)) == ((0.0, True), (1.0, False))


def test_open_answers_of_mmmu_and_aokvqa_have_rules_of_their_own():
    assert score_answer("so it is 4.50 V", ask("open", "mmmu", gold_answers=["4.5"])) == (1.0, False)
    assert score_answer("so it is 4.50 V", ask("open", gold_answers=["4.5"])) == (0.0, False)
    direct = ask("open", "aokvqa_direct", gold_answers=["cab"] * 2 + ["taxi"] * 8)
    assert score_answer("cab", direct) == (pytest.approx(2 / 3), False)


def test_every_letter_that_mmmu_accepts_is_right():
    question = ask_choice("mmmu", {"gold": ["B", "D"]})
    assert [score_answer(letter, question)[0] for letter in "ABCD"] == [0, 1, 0, 1]


def test_options_with_the_text_of_the_right_one_are_right():
    question = ask_choice(choices=["bus", "cab", "cab"])
    assert [score_answer(letter, question)[0] for letter in "ABC"] == [0, 1, 1]


def test_entity_mode():
    question = ask("entity", gold_answers=["Cessna"])
    assert score_answer("a red Cessna", question, ScoringRules(entity_match="exact")) == (0.0, False)


@pytest.mark.parametrize(
    "question",
    [
        ask("essay", gold_answers=["x"]),
        ask("open"),
        ask("vqa10"),
        ask("entity"),
        ask_choice(gold_index=None),
    ],
)
def test_questions_that_cannot_be_scored_raise(question):
    assert not is_unparsed("B", question)
    with pytest.raises(DataError, match="d:s:1"):
        score_answer("B", question)
