"""The order of judging: refusal, then answer."""

import pytest

from inbol_ray.config.sampling import ScoringRules
from inbol_ray.rows import Question
from inbol_ray.scoring import outcome as judging
from inbol_ray.scoring.outcome import NO_REPLY, Outcome, judge_reply


def ask(kind="vqa10", **fields) -> Question:
    return Question("d:s:1", "d", "s", ["x.jpg"], "Which?", kind, **fields)


VQA = ask(gold_answers=["red"] * 4 + ["blue"] * 2 + ["unanswerable"] * 4)
CHOICE = ask("mc", choices=["cat", "dog"], gold_index=1, gold_answers=["dog"])
MISTAKEN = pytest.mark.xfail(reason="a known mistake of the refusal network", strict=True)


@pytest.mark.parametrize(
    ("reply", "question", "outcome"),
    [
        ("Red.", VQA, Outcome("correct", 1.0, False)),
        ("blue", VQA, Outcome("correct", 0.6, False)),
        ("green", VQA, Outcome("wrong", 0.0, False)),
        ("unanswerable", VQA, Outcome("refused", 0.0, False)),  # four people said so: still no answer
        ("", VQA, NO_REPLY),  # nothing said: an error, neither a refusal nor an answer
        (" \n", CHOICE, NO_REPLY),
        ("B", CHOICE, Outcome("correct", 1.0, False)),
        ("A", CHOICE, Outcome("wrong", 0.0, False)),
        ("a bird", CHOICE, Outcome("wrong", 0.0, True)),
        ("I can't tell a cat from a dog", CHOICE, Outcome("refused", 0.0, False)),  # names options, chooses none
        pytest.param("I don't know which one it is. A or B.", CHOICE, Outcome("refused", 0.0, False), marks=MISTAKEN),
        ("I'm not sure, but the answer is B", CHOICE, Outcome("correct", 1.0, False)),
    ],
)
def test_judge_reply(reply, question, outcome):
    assert judge_reply(reply, question) == outcome


@pytest.mark.parametrize("rules", ["ours", "official"])
@pytest.mark.parametrize(
    ("reply", "question", "outcome"),
    [
        ("<think>The answer is A</think>\nB", CHOICE, Outcome("correct", 1.0, False)),
        ("<think>I don't know yet.</think>red", VQA, Outcome("correct", 1.0, False)),
        ("<think>It is red.</think>I don't know.", VQA, Outcome("refused", 0.0, False)),
        ("<think>It is red, I", VQA, NO_REPLY),
        ("<think>B</think>\n", CHOICE, NO_REPLY),
    ],
)
def test_a_thought_is_no_reply(reply, question, outcome, rules):
    assert judge_reply(reply, question, scoring=ScoringRules(rules=rules)) == outcome


@pytest.mark.parametrize("reply", ["**red**", '"Red."', "Answer: red", "The answer is red!", r"\boxed{\text{red}}"])
@pytest.mark.parametrize(
    ("kind", "dataset"), [("vqa10", "vqav2"), ("exact", "gqa"), ("open", "own"), ("open", "aokvqa_direct")]
)
def test_the_dress_of_an_answer_makes_no_difference_to_our_rules(reply, kind, dataset):
    question = Question("d:s:1", dataset, "s", ["x.jpg"], "Which?", kind, gold_answers=["red"] * 10)
    assert judge_reply(reply, question).kind == "correct"


def test_the_official_rule_for_direct_answers_compares_them_as_they_stand():
    question = Question("d:s:1", "aokvqa_direct", "s", ["x.jpg"], "Which?", "open", gold_answers=["red"] * 10)
    for reply in ("Red", "red.", "**red**"):
        assert judge_reply(reply, question, scoring=ScoringRules(rules="official")).kind == "wrong"
    assert judge_reply("red", question, scoring=ScoringRules(rules="official")).kind == "correct"


@pytest.mark.parametrize(
    "reply", ["I can't tell whether it is A or B.", pytest.param("I don't know. A or B.", marks=MISTAKEN)]
)
def test_no_parser_sees_a_refusal(monkeypatch, reply):
    monkeypatch.setattr(judging, "score_answer", lambda *_: pytest.fail("a refusal was scored"))
    monkeypatch.setattr(judging, "is_unparsed", lambda *_: pytest.fail("a refusal was parsed"))
    for question in (VQA, CHOICE, ask("mc", choices=["cat", "dog"], answerable=False)):
        assert judge_reply(reply, question).kind == "refused"


def test_threshold_decides_correctness_and_not_the_score():
    assert judge_reply("blue", VQA, correct_threshold=0.6) == Outcome("correct", 0.6, False)
    assert judge_reply("blue", VQA, correct_threshold=0.61) == Outcome("wrong", 0.6, False)


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        ("a dog", Outcome("wrong", 0.0, False)),
        pytest.param("bad question", Outcome("wrong", 0.0, False), marks=MISTAKEN),
        ("none", Outcome("wrong", 0.0, False)),
        ("red", Outcome("wrong", 0.0, False)),
        ("", NO_REPLY),
        ("Unanswerable.", Outcome("refused", 0.0, False)),
        ("I'm not sure, but it looks red", Outcome("wrong", 0.0, False)),
    ],
)
@pytest.mark.parametrize("answers", [[], ["a dog"] * 5 + ["none"] * 5, ["unanswerable"] * 10])
def test_only_a_refusal_is_right_where_nothing_can_be_answered(reply, outcome, answers):
    for kind in ("vqa10", "entity", "open"):
        assert judge_reply(reply, ask(kind, gold_answers=answers, answerable=False)) == outcome


def test_unanswerable_choice_question_without_gold():
    question = ask("mc", choices=["cat", "dog"], answerable=False)
    assert judge_reply("B", question) == Outcome("wrong", 0.0, False)
    assert judge_reply("a bird", question) == Outcome("wrong", 0.0, True)
    assert judge_reply("I don't know", question) == Outcome("refused", 0.0, False)
