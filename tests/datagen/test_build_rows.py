import pytest

from inbol_ray.config.model import PromptConfig
from inbol_ray.config.sampling import ClassConfig
from inbol_ray.method.classes import classify
from inbol_ray.method.idk_instructions import build_idk_instruction, build_sft_example
from inbol_ray.method.preference_pairs import build_preference_set, pair_weights
from inbol_ray.method.prompts import REFUSALS
from inbol_ray.rows import Question

PROMPTS = PromptConfig(answer_suffix=False)
CLASSES = ClassConfig(delta_known=0.7, delta_unknown=0.3)


def question(**changes) -> Question:
    values = {
        "id": "vqav2:train2014:1",
        "dataset": "vqav2",
        "split": "train2014",
        "images": ["a.png"],
        "question": "What color is it?",
        "answer_kind": "vqa10",
        "gold_answers": ["red"] * 10,
    }
    return Question(**(values | changes))


@pytest.mark.parametrize(
    ("confidence", "answerable", "expected"),
    [
        (0.7, None, "known"),
        (0.69, None, "mixed"),
        (0.31, None, "mixed"),
        (0.3, None, "unknown"),
        (0.30000001192092896, None, "unknown"),
        (0.699999988079071, None, "known"),
        (1.0, False, "unknown"),
        (1.0, True, "known"),
    ],
)
def test_classes(confidence, answerable, expected):
    assert classify(confidence, answerable, CLASSES) == expected


@pytest.mark.parametrize(
    ("knowledge", "expected"), [("known", (1, 0, 0)), ("mixed", (0, 0.4, 0.6)), ("unknown", (0, 0, 1))]
)
def test_pair_weights(knowledge, expected):
    assert tuple(pair_weights(knowledge, 0.4).values()) == pytest.approx(expected)


def test_idk_instruction_uses_the_models_own_correct_answer():
    row = build_idk_instruction(
        question(), "known", ["Red", "Red", "red.", "blue"], ["correct"] * 3 + ["wrong"], PROMPTS, 0
    )
    assert row["turns"] == [{"user": "What color is it?", "assistant": "Red"}]


def test_mixed_gives_no_idk_instruction():
    assert build_idk_instruction(question(), "mixed", ["red"], ["correct"], PROMPTS, 0) is None


def test_unknown_gives_a_stable_template():
    rows = [build_idk_instruction(question(), "unknown", ["blue"], ["wrong"], PROMPTS, 0) for _ in range(2)]
    assert rows[0] == rows[1] and rows[0]["turns"][0]["assistant"] in REFUSALS[1]


def test_sft_answers_unknown_questions_and_refuses_unanswerable_ones():
    assert build_sft_example(question(), "unknown", PROMPTS, 0)["turns"][0]["assistant"] == "red"
    refused = build_sft_example(question(answerable=False, gold_answers=[]), "unknown", PROMPTS, 0)
    assert refused["turns"][0]["assistant"] in REFUSALS[1]


def test_preference_sets():
    mixed = build_preference_set(question(), "mixed", 0.5, ["red", "blue"], ["correct", "wrong"], PROMPTS, 0)
    assert (mixed["correct"], mixed["incorrect"]) == ("red", "blue") and mixed["refusal"] in REFUSALS[1]
    known = build_preference_set(question(), "known", 1.0, ["red"], ["correct"], PROMPTS, 0)
    assert known["incorrect"] is None
    unknown = build_preference_set(question(), "unknown", 0.0, ["blue"], ["wrong"], PROMPTS, 0)
    assert unknown["correct"] is None


def test_unknown_without_a_wrong_answer_has_no_pair():
    assert build_preference_set(question(), "unknown", 0.0, ["I don't know."], ["refused"], PROMPTS, 0) is None


def test_choice_answers_are_letters():
    mc = question(answer_kind="mc", choices=["blue", "red"], gold_index=1, gold_answers=[])
    row = build_preference_set(mc, "mixed", 0.5, ["B", "A"], ["correct", "wrong"], PROMPTS, 0)
    assert row["correct"] == "B" and row["user"].endswith("A. blue\nB. red")
