"""Snapshots of every corpus's prompt: drift of one character changes what a model answers, so it must fail a test."""

import pytest
from pydantic import ValidationError

from inbol_ray.config.model import SYSTEM_TEXTS, PromptConfig
from inbol_ray.method.prompts import (
    PLAIN,
    TEMPLATES,
    add_answer_suffix,
    render_question,
)
from inbol_ray.models import DEFAULT_FAMILY, question_prompt
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
    (ask("vqav2_idk_filtered"), "What is it?" + SHORT),
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
    (ask("mohobench"), "What is it?"),
    (ask("kie_hvqa"), "What is it?"),
    (
        ask("tubench_ucr"),
        "What is it?\nPlease analyze the given image and question step by step. If you find the question does not have a "
        'deterministic answer, please answer "Unanswerable". If it does, answer either "Yes" or "No". Give your answer '
        "first and then output the explanation.",
    ),
    (
        ask("tubench_uvqa"),
        "What is it?\nPlease analyze the given image and question step by step. If you find that the given image lacks "
        'the information necessary to answer the question, please answer "Unanswerable". If the image contains the '
        'information needed to answer the question, answer either "Yes" or "No". Give your answer first and then output '
        "the explanation.",
    ),
    (
        ask("tubench_ugeoqa", OPTIONS),
        WITH_OPTIONS
        + "\nPlease analyze the given image and question step by step. If you find that the given question "
        'and image lack the information necessary to answer the question, please answer "Unanswerable". If the question '
        "and image contain the information needed to answer the question, select your answer from the answer choices. "
        "Give your answer first and then output the explanation.",
    ),
    (
        ask("tubench_utabmwp", OPTIONS),
        WITH_OPTIONS + "\nPlease analyze the table in the given image and question step by step. If you find the table "
        'lacks the information necessary to answer the question, please answer "Unanswerable". If the table contains the '
        "information needed to answer the question, select your answer from the answer choices. Give your answer first "
        "and then output the explanation.",
    ),
    (ask("humblebench", OPTIONS), WITH_OPTIONS + LETTER),
    (ask("mmaad_base", OPTIONS), WITH_OPTIONS),
    (ask("mmiasd_option", OPTIONS), WITH_OPTIONS + LETTER),
    (
        ask("mmiasd_instruction", OPTIONS),
        WITH_OPTIONS + '\nIf all the options are incorrect, answer "F. None of the above".',
    ),
    (
        ask("mmivqd_instruction", OPTIONS, "Animals move."),
        "Animals move.\n" + WITH_OPTIONS + "\nIf the given image is irrelevant to the question, answer "
        '"F. The image and question are irrelevant.".',
    ),
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
    assert DEFAULT_FAMILY.chat.prompt("What is it?") == "USER: <image>\nWhat is it? ASSISTANT:"
    assert DEFAULT_FAMILY.chat.prompt("a<image>b</s>", num_images=2) == "USER: <image>\n<image>\nab ASSISTANT:"


@pytest.mark.parametrize("name", ["vicuna_v1", "llava_v1"])
def test_a_system_text_stands_before_the_first_turn_alone(name):
    """LLaVA-1.5's own layout: system text, blank, then the turns (llava/conversation.py, SeparatorStyle.TWO)."""
    prompts = PromptConfig(system=name)
    assert prompts.system == SYSTEM_TEXTS[name] and prompts.system.startswith("A chat between a curious ")
    bare = question_prompt(DEFAULT_FAMILY, ask("gqa"), PromptConfig())
    assert bare == "USER: <image>\nWhat is it?" + SHORT + " ASSISTANT:"
    assert question_prompt(DEFAULT_FAMILY, ask("gqa"), prompts) == f"{prompts.system} {bare}"
    dialogue = DEFAULT_FAMILY.chat.dialogue([("a", 1, "b"), ("c", 0, None)], prompts.system)
    assert dialogue == f"{prompts.system} USER: <image>\na ASSISTANT: b</s>USER: c ASSISTANT:"


@pytest.mark.parametrize("text", ["", " Be brief.", "Look at <image>", "End</s>"])
def test_a_system_text_that_would_change_the_layout_is_refused(text):
    with pytest.raises(ValidationError, match="system"):
        PromptConfig(system=text)


USUAL = [question for question, _ in SNAPSHOTS if TEMPLATES.get(question.dataset, PLAIN).answer_instruction is None]


@pytest.mark.parametrize("question", USUAL)
def test_a_free_text_gets_the_instruction_of_its_form(question):
    """Where a corpus's template says nothing more, free text becomes the very prompt of a corpus."""
    asked = render_question(question, PromptConfig())
    assert add_answer_suffix(asked) == asked  # not twice
    if question.dataset not in ("mmmu", "vizwiz"):
        assert add_answer_suffix(render_question(question, PromptConfig(answer_suffix=False))) == asked


def test_what_looks_like_one_option_or_a_list_is_no_choice():
    for text in ("A. Lincoln was who?", "J. Doe\nB. Roe\nWho?", "Steps:\nB. one\nC. two"):
        assert add_answer_suffix(text) == text + SHORT
    assert add_answer_suffix("A. Lincoln?\nA. yes\nB. no, a\nlong one\nC. who").endswith(LETTER)
