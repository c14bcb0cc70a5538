"""What a judge is asked, word for word, and which of its words count."""

import hashlib

import pytest

from inbol_ray.judging.prompt import JUDGE_PROMPT_VERSION, judge_prompt, read_verdict
from inbol_ray.rows import Question

OPEN = Question("q:1", "vqav2", "val", [], "What is it?", "vqa10", gold_answers=["cat", "kitten", "kitten"])
CHOICE = Question("q:2", "aokvqa", "val", [], "Which?", "mc", choices=["car", "bus"], gold_index=1)

SNAPSHOTS = {1: "82470dcee1be"}
"""By JUDGE_PROMPT_VERSION, the start of a digest of both prompts: another wording needs another version."""


def test_the_wording_is_that_of_its_version():
    prompts = [judge_prompt(kind, OPEN, "A {cat}.") for kind in ("refusal", "correctness")]
    digest = hashlib.sha256("\0".join(prompts).encode()).hexdigest()
    assert digest.startswith(SNAPSHOTS[JUDGE_PROMPT_VERSION]), digest


def test_a_judge_sees_question_options_references_and_the_reply_without_its_thinking():
    asked = judge_prompt("correctness", CHOICE, "<think>Is it A?\nNo.</think>\n{B}")
    assert "Question: Which?\nA. car\nB. bus\n" in asked
    assert "Reference answers: B. bus\n" in asked and "<<<{B}>>>" in asked and "Is it A" not in asked
    assert "Reference answers: kitten; cat\n" in judge_prompt("correctness", OPEN, "x")
    assert "kitten" not in judge_prompt("refusal", OPEN, "x")


@pytest.mark.parametrize(
    ("kind", "said", "verdict"),
    [
        ("refusal", "REFUSED", True),
        ("refusal", " answered.\n", False),
        ("refusal", "**Refused**", True),
        ("refusal", "<think>It says: ANSWERED</think> REFUSED", True),
        ("refusal", "<think>REFUSED", None),
        ("refusal", "It says: ANSWERED</think><answer>REFUSED</answer>", True),
        ("refusal", "REFUSED or ANSWERED", None),
        ("refusal", "The reply is REFUSED", None),
        ("refusal", "CORRECT", None),
        ("refusal", "", None),
        ("correctness", "Correct", True),
        ("correctness", "WRONG", False),
        ("correctness", "INCORRECT", None),
        ("correctness", "not correct", None),
    ],
)
def test_only_one_of_the_two_words_is_a_verdict(kind, said, verdict):
    assert read_verdict(kind, said) is verdict
