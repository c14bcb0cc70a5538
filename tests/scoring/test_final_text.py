"""A thought is no reply."""

import pytest

from inbol_ray.scoring.final_text import final_text


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("B", "B"),
        (" a < b \n", " a < b \n"),
        ("[1, 2]", "[1, 2]"),
        ("<think>The answer is A</think>\nB", "B"),
        ("<THINK>\nA?\n</THINK>\n\nB", "B"),
        ("<thinking>A</thinking>B", "B"),
        ("<reasoning>A</reasoning> B", "B"),
        ("<|begin_of_thought|>A<|end_of_thought|><|begin_of_solution|>B<|end_of_solution|>", "B"),
        ("\u25c1think\u25b7A\u25c1/think\u25b7B", "B"),
        ("[THINK]A[/THINK]B", "B"),
        ("It is A, or is it?</think>B", "B"),  # the chat template wrote the start
        ("A</think>B<think>C</think>D", "B D"),
        ("<think>A <think> tag</think> more</think>B", "B"),
        ("<think>The answer is A", ""),
        ("<think>A</think>", ""),
        ("<think>A</think><answer>B</answer>", "B"),
        ("Sure. <Answer> B </Answer> Bye.", "B"),
        ("<answer>B", "B"),
        ("B</answer>", "B"),
        ("<answer></answer>", ""),
        ("<answer>A</answer> <answer>B</answer>", "A\nB"),
        ("I see a ring.<|begin_of_box|>B<|end_of_box|>", "B"),
        ("<SUMMARY>s</SUMMARY><REASONING>A</REASONING><CONCLUSION>B</CONCLUSION>", "B"),
        ("\\boxed{B}", "\\boxed{B}"),
    ],
)
def test_final_text(reply, said):
    assert final_text(reply) == said
