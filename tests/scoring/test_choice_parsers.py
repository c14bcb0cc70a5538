"""Option parsers on their traps, and against independent restatements of the published rules."""

import re
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inbol_ray.scoring.choice_parsers import leading_choice, parse_choice

CHOICES = ["rock", "air", "A man", "u.s. army"]


@pytest.mark.parametrize(
    ("reply", "index"),
    [
        ("B", 1),
        ("b", 1),
        (" B ", 1),
        ("B.", 1),
        ("(b)", 1),
        ("B. air", 1),
        ("B) air", 1),
        ("B: air", 1),
        ("(B) air", 1),
        ("(B)", 1),
        ("B. air, because A is wrong", 1),
        ("The answer is B", 1),
        ("the answer is (B).", 1),
        ("The answer is B. Yes, the answer is B.", 1),
        ("AIR", 1),
        ("Air.", 1),
        ("a man", 2),
        ("U.S. Army", 3),  # U is beyond the choices, the text is not
        ("E", None),
        ("E. something", None),
        ("A.M. it is", None),
        ("A man is there", None),  # the article is no option letter
        ("the answer is a rock", None),
        ("The answer is Because", None),
        ("The answer is A or the answer is B", None),
        ("A, B", None),
        ("A and B", None),
        ("I don't know", None),
        ("rock or air", None),
        ("B-52", None),
        ("", None),
        ("  ", None),
    ],
)
def test_ours(reply, index):
    assert parse_choice(reply, CHOICES) == index


@pytest.mark.parametrize(
    ("reply", "choices", "index"),
    [
        ("-5", ["5", "-5", "-5 to 5", "0.5"], 1),
        ("-5 to 5", ["5", "-5", "-5 to 5", "0.5"], 2),
        ("-5 to 5.", ["5", "-5", "-5 to 5", "0.5"], 2),
        ("0.5", ["5", "-5", "-5 to 5", "0.5"], 3),
        (".5", ["5", "-5", "-5 to 5", "0.5"], None),
        ("1,000", ["1000", "1,000"], 1),
        ("D. 0.5", ["5", "-5", "-5 to 5", "0.5"], 3),
        ("cat", ["cat", "Cat"], None),  # two choices with one text cannot be told apart
        ("CAFÉ", ["cafe", "café"], 1),
        ("none", ["None", "0"], 0),
        ("c", ["cat", "dog", "c"], 2),  # a letter comes before a text; here they agree
        ("a", ["cat", "a"], 0),  # and here they do not
    ],
)
def test_ours_on_numbers_and_texts(reply, choices, index):
    assert parse_choice(reply, choices) == index


COLOURS = ["red", "blue", "green", "yellow"]


@pytest.mark.parametrize(
    "reply",
    [
        "A. red\nB. blue\nC. green\nD. yellow",
        "A. red B. blue C. green D. yellow",
        "(A) red (B) blue",
        "A) red, B) blue",
        "A: red\nB: blue",
        "A\nB\nC\nD",
        "Answer: A. red\nB. blue\nC. green",
        "(A) or (B)",
        "A or B",
        "either A or C",
        "A/B",
        "A, B",
        "A & B",
        "A. red or B. blue",
        "B) or C)",
        "The answer is A or B",
        "The answer is either A or C.",
        "Answer: A/B",
        "The answer is A. red or B. blue",
        "The answer is red or blue",
        "A and B are correct",
        "It could be A, B or C",
        "Answer: (A)(B)",
        "ANSWER: AB",
        "A和B",
        "答案是A或B",
        "\uff21\u3001\uff22",
    ],
)
def test_several_options_are_none(reply):
    assert parse_choice(reply, COLOURS) is None
    assert leading_choice(reply, COLOURS) is None


@pytest.mark.parametrize(
    "reply",
    [
        "A. blue",
        "(A) blue",
        "blue (A)",
        "The answer is A. blue",
        "Answer: A (blue)",
        "B) green",
        "A. red. The answer is B",
    ],
)
def test_a_letter_and_the_text_of_another_option_are_none(reply):
    assert parse_choice(reply, COLOURS) is None


@pytest.mark.parametrize(
    ("reply", "index"),
    [
        ("A... no wait, B", 1),
        ("The answer is A. Wait, no, the answer is B.", 1),
        ("A. Actually, B", 1),
        ("A, I mean C", 2),
        ("A... no wait", None),
        ("not A, but C", 2),
        ("It is not A. It is B.", 1),
        ("不是A，而是B", 1),
        ("The answer is not A", None),
        ("neither A nor B", None),
    ],
)
def test_what_is_taken_back_does_not_count(reply, index):
    assert parse_choice(reply, COLOURS) == index


@pytest.mark.parametrize(
    "reply",
    [
        *(
            "**B**",
            "*B*",
            "__B__",
            "`B`",
            "### B",
            "- B",
            "**B. blue**",
            "**B**. blue",
            "**Answer:** B",
            "**Answer: B**",
        ),
        *("[B]", "{B}", "<B>", "(b)", '"B"', "'B'", "b. blue", "b) blue", "blue (B)", "B, blue", "B - blue", "B blue"),
        *(r"\boxed{B}", "$B$", r"\(B\)", r"$\mathbf{B}$", r"Answer: $\boxed{\text{B}}$", r"\boxed{\text{(B) blue}}"),
        *("Answer: B", "answer: b", "Answer:\n\nB. blue", "Final Answer: (B)", "Answer: B (blue)", "Answer: blue"),
        *("The correct option is B", "the correct answer is b.", "The correct choice is (B) blue.", "Option B"),
        *("B is correct. A is wrong because it is red.", "A is wrong. B is correct.", "B is the correct answer"),
        "The answer is B, A is wrong",
        "The answer is B. Note that A is a common distractor.",
        "I considered (A), but it is incorrect. Final answer: B.",
        "I think the answer is B because A is red",
        "A. red\nB. blue\nC. green\nD. yellow\n\nAnswer: B",
        "B\n\nExplanation:\nA. red: the ring is darker\nB. blue: as seen",
        r"Since \boxed{\langle H\rangle \ll \Delta E}: **Answer: B**",
        *(
            "\uff22",
            "\uff08\uff22\uff09",
            "\uff22\uff0e blue",
            "【B】",
            "【答案】B",
            "答案是B",
            "答案：\uff22",
            "选项B",
        ),
        "Let me see.\n\nB",
        "(A) red (B) blue (C) green (D) yellow\n\n**B**",
        "The ring is blue.\n**B. blue**",
        *("Ans: B", "Answer - B", "The ring is blue, so B.", "A: B. blue", "B选项正确"),
        *("选B", "正确答案为：（B）", "故选B", "选项B是正确的，因为它是蓝色", "A错误，B正确"),
    ],
)
def test_one_option_in_any_dress(reply):
    assert parse_choice(reply, COLOURS) == 1


@pytest.mark.parametrize(
    ("reply", "choices", "index"),
    [
        ("A: Yes", ["No", "Yes"], 1),  # the letter of `Answer`
        ("A: No", ["No", "Yes"], 0),
        ("A: B", COLOURS, 1),
        ("Answer: Yes", ["No", "Yes"], 1),
        ("答案是蓝色", ["红色", "蓝色"], 1),
        ("A+", ["B+", "A+"], 1),
        ("A. B", ["B", "A", "D"], 0),  # options that are letters
        ("The answer is A. B", ["B", "A", "D"], 0),
        ("B", ["B", "A", "D"], 1),
        ("C. A pretty girl is there", ["cat", "dog", "girl"], 2),
        ("B. Vitamin C", ["Vitamin B", "Vitamin C"], 1),
        ("A. Vitamin B", ["Vitamin B", "Vitamin C"], 0),
        ("The answer is A man", COLOURS, None),
        ("B, I think", [str(number) for number in range(10)], None),
        ("选项 (B) $3.3\\mathrm{MeV}$。", ["1 MeV", "3.3 MeV"], 1),
    ],
)
def test_options_tell_letters_from_words(reply, choices, index):
    assert parse_choice(reply, choices) == index


@given(index=st.integers(0, 25), form=st.sampled_from(["{}", "{}.", "({})", "{})", "{}: so", "The answer is {}"]))
def test_every_form_of_every_letter_is_read_back(index, form):
    choices = [f"choice number {k}" for k in range(26)]
    assert parse_choice(form.format(chr(ord("A") + index)), choices) == index
    expected = None if index else 0
    assert parse_choice(form.format(chr(ord("A") + index)), choices[:1]) == expected


# --- The published rules ------------------------------------------------------------------------------------------

PIECES = [
    *"ABCDEFIZ abd.,:;!?()*'",
    "\n",
    "The answer is ",
    "the answer is ",
    "answer  is **",
    " is ",
    "(B)",
    " C ",
    "rock",
]
PIECES += ["Air", "A man", "I can't process this file.", "Cannot determine the answer", "one two three four five six "]
REPLIES = st.lists(st.sampled_from(PIECES), max_size=9).map("".join) | st.text(max_size=12)
OPTIONS = st.lists(st.sampled_from([*CHOICES, "b", "AIR", "", "\u0130", "dog cat"]), min_size=1, max_size=9)


@pytest.mark.parametrize(
    ("reply", "index"),
    [
        ("A", 0),
        ("A. rock", 0),
        ("The answer is B.", 1),
        ("The answer is B!", 1),
        ("A.", None),
        ("(A)", None),
        ("A)", None),
        (" A", None),
        ("a", None),
        ("E", None),
        ("rock", None),
        ("The answer is A", None),  # something has to follow
        ("The answer is A. The answer is A.", None),
    ],
)
def test_llava(reply, index):
    assert parse_choice(reply, CHOICES, "llava") == index


@settings(max_examples=300)
@given(REPLIES, OPTIONS)
def test_ours_names_an_option_or_none_whatever_is_said(reply, choices):
    assert parse_choice(reply, choices) in [None, *range(len(choices))]


@settings(max_examples=500)
@given(REPLIES, OPTIONS)
def test_llava_restated(reply, choices):
    options = ["A", "B", "C", "D", "E"]
    answer = None
    if reply in options:
        answer = reply
    elif len(reply) >= 3 and reply[:1] in options and reply[1] == "." and reply[2] == " ":
        answer = reply[0]
    else:
        template, found, start = "The answer is ", [], 0
        while (place := reply.find(template, start)) >= 0:
            end = place + len(template)
            matches = re.match("[A-Z].", reply[end:]) is not None
            found += [end] if matches else []
            start = end + 2 if matches else place + 1  # what a match took is gone: `The answer is AThe answer is`
        if len(found) == 1:
            answer = reply[found[0]]
    valid = options[: len(choices)]
    assert parse_choice(reply, choices, "llava") == (valid.index(answer) if answer in valid else None)


@pytest.mark.parametrize(
    ("reply", "index"),
    [
        ("A", 0),
        ("B.", 1),
        ("(B) because of (C)", 2),  # the last one
        ("It is B or D maybe", 3),
        ("(A) or B", 0),  # brackets come first
        ("A man is standing there in the rain", 0),  # their article trap
        ("B. green", None),
        ("B)", None),
        ("b", None),
        ("**B**", None),
        ("'B'", 1),
        ("the thing in the picture is air", 1),
        ("it is air", None),  # five words or fewer
        ("I can't help with the rock in it", 0),  # their refusal trap: judged a refusal long before
        ("", None),
    ],
)
def test_mmmu(reply, index):
    assert parse_choice(reply, CHOICES, "mmmu") == index


def test_mmmu_has_nine_options_and_so_the_pronoun_is_one():
    assert parse_choice("well I think so", [str(k) for k in range(9)], "mmmu") == 8


@settings(max_examples=500)
@given(REPLIES, OPTIONS)
def test_mmmu_restated(reply, choices):
    said = reply
    for mark in ",.!?;:'":
        said = said.strip(mark)
    said = f" {said} "
    letters = list(enumerate(string.ascii_uppercase[: len(choices)]))
    found = [(i, said.rfind(f"({letter})")) for i, letter in letters if f"({letter})" in said]
    found = found or [(i, said.rfind(f" {letter} ")) for i, letter in letters if f" {letter} " in said]
    if not found and len(said.split()) > 5:
        found = [(i, said.lower().rfind(c.lower())) for i, c in enumerate(choices) if c.lower() in said.lower()]
    latest = max((place for _, place in found), default=None)
    expected = next((i for i, place in found if place == latest), None)
    assert parse_choice(reply, choices, "mmmu") == expected


@pytest.mark.parametrize(
    ("reply", "index"),
    [
        ("A", 0),
        ("(B)", 1),
        ("B. the green one that we see", None),  # the letter is too far from the end
        ("the green one that we see is B", 1),
        ("B the green one", 1),  # the fourth word from the end
        ("B the green one there", None),  # the fifth
        ("A or B", None),
        ("The answer is a dog", 0),
        ("The answer is cat", 2),
        ("The ANSWER is  **d** and so on and so on and on", 3),
        ("the answer is e, or the answer is b", 1),
        ("rock", 0),
        ("ROCK it is", 0),
        ("rock and air", None),
        ("rock" + " x" * 30, None),  # longer than twice the options
        ("Z", None),
        ("Cannot determine the answer A", None),
        ("I can't process this file. A", None),
        ("", None),
    ],
)
def test_mmbench(reply, index):
    assert parse_choice(reply, CHOICES, "mmbench") == index


@settings(max_examples=500)
@given(REPLIES, OPTIONS)
def test_mmbench_restated(reply, choices):
    assert parse_choice(reply, choices, "mmbench") == mmbench_restated(reply, choices)


def mmbench_restated(reply: str, choices: list[str]) -> int | None:
    for phrase in ("help with images of people yet", "I can't process this file.", "Cannot determine the answer"):
        if phrase in reply:
            return None
    blanked = "".join(" " if c in ".()[],:;!*#{}" else c for c in reply).split()
    valid = string.ascii_uppercase[: len(choices)]
    present = sorted(set(blanked) & set(valid))
    if len(present) == 1 and present[0] in blanked[-4:] and present[0] not in blanked[:-4]:
        return valid.index(present[0])
    if not present and "Z" in blanked:
        return None
    letter = re.search(r"(?i)answer\s+is\s+\**([ABCD])", reply)
    if letter and letter[1].upper() in valid:
        return valid.index(letter[1].upper())
    said = reply.lower()
    if len(said) > 2 * len("".join(choices)):
        return None
    held = [i for i, choice in enumerate(choices) if choice.lower() in said]
    return held[0] if len(held) == 1 else None
