"""Snapshots of every corpus's prompt: drift of one character changes what a model answers, so it must fail a test."""

import pytest

from inbol_ray.config.model import PromptConfig
from inbol_ray.prompts import chat_prompt, render_question
from inbol_ray.rows import Question

SHORT = "\nAnswer the question using a single word or phrase."
LETTER = "\nAnswer with the option's letter from the given choices directly."
OPTIONS = ["cat", "dog", "<image 2>"]
WITH_OPTIONS = "What is it?\nA. cat\nB. dog\nC. <image 2>"


def ask(dataset, choices=(), hint=None) -> Question:
    kind = "mc" if choices else "open"
    return Question("d:s:1", dataset, "s", ["x.jpg"], "What is it?", kind, choices=list(choices), hint=hint)


SNAPSHOTS = [
    (ask("vqav2"), "What is it?" + SHORT),
    (ask("gqa"), "What is it?" + SHORT),
    (ask("oven"), "What is it?" + SHORT),
    (ask("aokvqa_direct"), "What is it?" + SHORT),
    (ask("vqav2_idk"), "What is it?" + SHORT),
    (ask("beyondvisqa_open"), "What is it?" + SHORT),
    (ask("own"), "What is it?" + SHORT),
    (
        ask("vizwiz"),
        "What is it?\nWhen the provided information is insufficient, respond with 'Unanswerable'." + SHORT,
    ),
    (ask("scienceqa", OPTIONS), WITH_OPTIONS + LETTER),
    (ask("scienceqa", OPTIONS, "Animals move."), "Context: Animals move.\n" + WITH_OPTIONS + LETTER),
    (ask("scienceqa_full", OPTIONS, "Animals move."), "Context: Animals move.\n" + WITH_OPTIONS + LETTER),
    (ask("aokvqa", OPTIONS), WITH_OPTIONS + LETTER),
    (ask("beyondvisqa", OPTIONS), WITH_OPTIONS + LETTER),
    (ask("mmbench", OPTIONS), WITH_OPTIONS + LETTER),
    (ask("mmbench", OPTIONS, "Animals move."), "Animals move.\n" + WITH_OPTIONS + LETTER),
    (ask("mmmu", OPTIONS), WITH_OPTIONS + "\n" + LETTER),
    (ask("mmmu"), "What is it?\n" + SHORT),
    (ask("own", OPTIONS, "Animals move."), "Animals move.\n" + WITH_OPTIONS + LETTER),
]


@pytest.mark.parametrize(("question", "text"), SNAPSHOTS)
def test_prompt(question, text):
    assert render_question(question, PromptConfig()) == text


@pytest.mark.parametrize("question", [question for question, _ in SNAPSHOTS])
def test_the_refusal_prompt_is_the_same_after_its_instruction(question):
    prompts = PromptConfig()
    variant = render_question(question, prompts, refusal_instruction=True)
    assert variant == f"{prompts.refusal_instruction}\n{render_question(question, prompts)}"
    assert prompts.refusal_instruction == "If you cannot answer the question, reply: Sorry, I can't answer that."


def test_the_instructions_can_be_left_out():
    bare = PromptConfig(answer_suffix=False)
    assert render_question(ask("vizwiz"), bare) == "What is it?"
    assert render_question(ask("mmmu", OPTIONS), bare) == WITH_OPTIONS
    assert render_question(ask("vizwiz"), PromptConfig(vizwiz_invitation=False)) == "What is it?" + SHORT


def test_chat_layout():
    assert chat_prompt("What is it?") == "USER: <image>\nWhat is it? ASSISTANT:"
    assert chat_prompt("a<image>b</s>", num_images=2) == "USER: <image>\n<image>\nab ASSISTANT:"
