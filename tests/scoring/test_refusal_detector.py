"""The refusal detector on replies that are easy to mistake, with and without their question."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inbol_ray.prompts import REFUSALS
from inbol_ray.rows import Question
from inbol_ray.scoring.refusal import Refusal, detect_refusal

REPLIES = [
    json.loads(line)
    for line in (Path(__file__).parent / "data" / "refusal_replies.jsonl").read_text("utf-8").splitlines()
]
"""Replies labelled by hand. The detector was changed until `dev` was right; `test` was written when it was finished and
scored once. Round 1 to 6 were such tests before, and joined `dev` when they had shown gaps."""

FULL = [
    "I don't know.",
    "I don\u2019t know",
    "I  DO\nNOT   KNOW",
    "i dont know",
    "We do not know that.",
    "I really don't know what this is.",
    "I am not sure.",
    "I'm not sure what it might be.",
    "I cannot answer this question.",
    "I can\u2019t tell.",
    "I can not determine the brand.",
    "I'm unable to see the label",
    "We are not able to identify it.",
    "I cannot see a dog",
    "I'm sorry, but I cannot help with that.",
    "Sorry, I can't make that out.",
    "Sorry. I can't read it.",
    "Sorry, I can't answer th",  # cut off
    "It is unknown.",
    "The answer is unclear from the picture.",
    "This question cannot be answered",
    "It cannot be determined from the image.",
    "It's not possible to tell.",
    "It is impossible to determine who owns it.",
    "There is not enough information.",
    "The image doesn't provide enough information",
    "Insufficient information",
    "That is beyond my knowledge.",
    "Not possible to tell",
    "Impossible to tell from this angle.",
    "It's impossible to know",
    "I have no idea.",
    "no idea",
    "Not sure what this is",
    "can't tell",
    "don't know",
    "unanswerable",
    "Unanswerable.",
    "'Unanswerable'",
    "**unanswerable**",
    "unanswerable unanswerable unanswerable",
    "Unanswerable\nUnanswerable",
    "the unanswerable",  # normalises to `unanswerable`, so it would match a human answer
    "Unknown",
    "idk",
    "not sure",
    "uncertain",
    "unclear",
    "unsuitable image",
    "The image is blurry, so I'm not sure",
    "The image is too dark. I don't know.",
    "I don't know, but the picture is blurred",
    "I can't answer that, but I can describe the image.",
    "I cannot answer that, but I can help with something else.",
    "I'm not sure, but I cannot tell.",
    "It shows a white plane, but I'm not sure which model it is.",
    "No, I don't know",
    "To be honest, I don't know",
    "I see what it says, and I cannot answer",
]

HEDGED = [
    "I'm not sure, but it looks like a Cessna 172",
    "I don't know, maybe a dog",
    "I'm not certain. It might be a beagle.",
    "I cannot see it well, but it appears to be a bus",
    "I don't know, but it could be a dog, though I can't tell",
    "It's a Cessna 172, but I'm not sure.",
    "Cessna 172. I'm not sure though.",
    "Yes, but I'm not sure",
]

ANSWERS = [
    "no",
    "none",
    "nothing",
    "0",
    "",
    "  ",
    "not visible",
    "there is no dog",
    "is not red",
    "depends",
    'The sign says "Sorry, we are closed"',
    'It reads "Sorry, we can\'t help you"',
    "\u201cI don\u2019t know\u201d is written on it",
    "The sign says Sorry, I can't answer",
    "He says I don't know",
    "I can't believe it's not butter",
    "he cannot swim",
    "She doesn't know",
    "I can't help but smile",
    "I can't help laughing",
    "Tomb of the Unknown Soldier",
    "the unknown soldier",
    "I Don't Know",
    "We Can't See: the film",
    "the film i don't know",
    "It is unknown pleasures",
    "I can see a dog",
    "I know it is a cat",
    "information desk",
    "certainly",
    "I don't",  # cut off before it says anything
    "Sorry, I can",
    "knowing me",
    "a good idea",
    "it is possible to see a dog",
    "it has no idea",
]


@pytest.mark.parametrize("reply", FULL)
def test_refusals(reply):
    found = detect_refusal(reply)
    assert found.refused
    assert found.strength == "full"
    start, end = found.span
    assert 0 <= start < end <= len(reply)


@pytest.mark.parametrize("reply", HEDGED)
def test_hedged_answers_are_flagged_and_not_refused(reply):
    found = detect_refusal(reply)
    assert not found.refused
    assert found.strength == "hedged"
    assert reply[slice(*found.span)].strip()


@pytest.mark.parametrize("reply", ANSWERS)
def test_answers(reply):
    assert detect_refusal(reply) == Refusal(False)


@pytest.mark.parametrize("reply", [text for texts in REFUSALS.values() for text in texts])
def test_every_training_template_is_detected(reply):
    for said in (reply, reply.upper(), reply.rstrip("."), reply.replace("'", "\u2019"), f" {reply}\n"):
        assert detect_refusal(said).refused, said


def test_span_is_in_the_raw_reply():
    reply = "Hm \u2026  I don\u2019t\n know, really"
    found = detect_refusal(reply)
    assert reply[slice(*found.span)] == "I don\u2019t\n know"


def ask(text, choices=(), **fields) -> Question:
    kind = "mc" if choices else "vqa10"
    return Question("d:s:1", "d", "s", ["x.jpg"], text, kind, choices=list(choices), **fields)


@pytest.mark.parametrize(
    ("question", "reply", "refused"),
    [
        # Words of the question, mentioned ...
        ("Is the sky clear or unclear?", "unclear", False),
        ("What does the sign 'I don't know' say?", "I don't know", False),
        ("Which sign says I don't know?", "The one with I don't know is red", False),
        ("Is it not possible to tell?", "It not possible to tell", False),
        # ... or used by whoever asks.
        ("I don't know what this is, can you tell me?", "I don't know what this is.", True),
        ("What is this? I can't see it.", "I can't see it", True),
        ("What is this?", "unclear", True),
    ],
)
def test_words_of_the_question(question, reply, refused):
    assert detect_refusal(reply, ask(question)).refused is refused


SORRY = "Sorry, I can't help with it"


@pytest.mark.parametrize(
    ("choices", "reply", "refused"),
    [
        (["cat", SORRY, "dog"], "B", True),
        (["cat", SORRY, "dog"], "B. " + SORRY, True),
        (["cat", SORRY, "dog"], SORRY, True),
        (["cat", SORRY, "dog"], "The answer is B.", True),
        (["cat", SORRY, "dog"], "I'm not sure, but the answer is B", True),
        (["cat", SORRY, "dog"], "The answer is A.", False),
        (["cat", SORRY, "dog"], "A", False),
        (["cat", SORRY, "dog"], "I can't help with it.", True),
        (["cat", "hen", "dog"], "B. " + SORRY, False),
        (["cat", "hen", "dog"], SORRY, True),
        (["cat", "hen", "dog"], "I don't know", True),
        (["cat", "hen", "dog"], "I'm not sure, but the answer is B", False),
        (["yes", "no", "not sure"], "C", True),
        (["yes", "no", "unclear"], "unclear", False),
        (["yes", "no", "unclear"], "C", False),
        (["clear", "cannot be determined"], "It cannot be determined", True),
        (["clear", "cannot be determined"], "cannot be determined", False),
    ],
)
def test_options(choices, reply, refused):
    assert detect_refusal(reply, ask("Which?", choices)).refused is refused


def test_an_option_that_states_ignorance_refuses_where_the_question_is_unanswerable():
    choices = ["cat", "cannot be determined"]
    assert detect_refusal("B", ask("Which?", choices, answerable=False)).refused
    assert not detect_refusal("B", ask("Which?", choices, answerable=True)).refused
    assert not detect_refusal("A", ask("Which?", choices, answerable=False)).refused


def test_a_doubt_beside_a_chosen_option_is_flagged():
    found = detect_refusal("B. hen, but I'm not sure", ask("Which?", ["cat", "hen"]))
    assert (found.refused, found.strength) == (False, "hedged")


@given(st.text(max_size=60), st.sampled_from(["", "I don't know. ", "unclear '", "\"I can't tell", "but "]))
def test_any_text_is_judged(text, prefix):
    found = detect_refusal(prefix + text, ask("Do I know?", ["I", text or "x"]))
    assert found.refused is (found.strength == "full")
    assert (found.span is None) is (found.strength is None)


@pytest.mark.parametrize("split", ["dev", "test"])
def test_precision_and_recall_on_labelled_replies(split):
    rows = [row for row in REPLIES if row["split"] == split]
    found = [row for row in rows if detect_refusal(row["reply"]).refused]
    refusals = [row for row in rows if row["refusal"]]
    num_right = sum(row["refusal"] for row in found)
    precision, recall = num_right / len(found), num_right / len(refusals)
    print(f"{split}: {len(rows)} replies, {len(refusals)} refusals, precision {precision:.4f}, recall {recall:.4f}")
    mistaken = [row["reply"] for row in rows if (row in found) != row["refusal"]]
    assert min(precision, recall) >= 0.98, mistaken
    assert len(refusals) >= 60 and len(rows) - len(refusals) >= 60


def test_no_labelled_reply_is_there_twice():
    assert len(REPLIES) == len({row["reply"] for row in REPLIES}) >= 300
    dev, test = ({row["reply"].lower() for row in REPLIES if row["split"] == split} for split in ("dev", "test"))
    assert not dev & test


@pytest.mark.parametrize("split", ["dev", "test"])
def test_curly_apostrophes_capitals_and_blanks_change_nothing(split):
    for row in REPLIES:
        if row["split"] == split and row["kind"] not in ("name", "quote"):
            curly = row["reply"].replace("'", "\u2019")
            assert detect_refusal(f"  {curly}\n").refused is detect_refusal(row["reply"]).refused, curly


def test_verdicts_do_not_depend_on_the_order_of_replies():
    forwards = [detect_refusal(row["reply"]) for row in REPLIES]
    assert [detect_refusal(row["reply"]) for row in reversed(REPLIES)] == forwards[::-1]
