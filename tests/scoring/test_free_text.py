"""The rule `free_text`: what counts as the answer of a sentence, and its agreement with labelled replies."""

import json
from collections import defaultdict
from pathlib import Path

import pytest

from inbol_ray.config.sampling import ScoringRules
from inbol_ray.rows import Question
from inbol_ray.scoring.answer_match import is_unparsed, score_answer
from inbol_ray.scoring.free_text import free_text_accuracy, free_text_choice, free_text_match
from inbol_ray.scoring.vqa_accuracy import vqa_accuracy

DATA = Path(__file__).parent / "data"
FREE_TEXT = ScoringRules(rules="free_text")


@pytest.mark.parametrize(
    ("question", "gold", "right", "wrong"),
    [
        ("What color is the sofa?", "red", "The cat is on the red sofa.", "It's not red but blue."),
        ("What color is the sofa?", "red", "At first it looks blue, but it is actually red.", "It is red or blue."),
        (
            "What color is the bus?",
            "blue",
            "The bus next to the red car is blue.",
            "The blue car is next to a red bus.",
        ),
        ("How many dogs are there?", "21", "There are twenty-one dogs.", "There are 12 dogs."),
        ("How many seats are there?", "50", "50 seats, as far as I can see.", "There are 150 seats."),
        ("How many shoes are there?", "2", "I see a couple of shoes.", "I don't see any shoes."),
        ("How long is it?", "10 cm", "It is 10 centimetres long.", "It is 10 mm long."),
        ("What time is it?", "4:45", "It's a quarter to five.", "It's a quarter past four."),
        ("When was it?", "June 3, 1942", "On the 3rd of June 1942.", "On July 3, 1942."),
        ("Is there a dog?", "yes", "There is a dog on the lawn.", "I don't see any dog."),
        ("Is there a dog?", "yes", "It isn't true that there is no dog.", "It isn't true that there is a dog."),
        ("Is the door open?", "no", "The door is shut.", "The door stands wide open."),
        ("What is in the bowl?", "apples and pears", "Pears and apples.", "There are only apples in the bowl."),
        ("Who wrote it?", "John Maynard Keynes", "It was written by John Keynes.", "It was written by Ann Keynes."),
        ("What is it?", "bridge", "It spans a river.\n\n**Final answer:** a bridge", "Answer: a tunnel under a bridge"),
        ("Which city is it?", "York", "This is York.", "This is New York."),
        ("Where is the cat?", "on the sofa", "The cat sleeps on the couch.", "The cat hides behind the sofa."),
        ("Who is taller?", "the man", "The man is taller than the woman.", "The woman is taller than the man."),
    ],
)
def test_one_sentence_is_right_and_another_wrong(question, gold, right, wrong):
    assert free_text_match(right, question, [gold])
    assert not free_text_match(wrong, question, [gold])


def test_an_option_within_another_is_not_chosen():
    choices = ["apple", "apple juice", "water"]
    assert free_text_choice("The glass is filled with apple juice.", "What is in the glass?", choices) == 1
    assert free_text_choice("There is an apple in the glass.", "What is in the glass?", choices) == 0
    assert free_text_choice("It's neither water nor apple juice.", "What is in the glass?", choices) is None
    assert free_text_choice("B. apple juice", "What is in the glass?", choices) == 1


def test_people_are_counted_as_vqa_accuracy_counts_them():
    references = ["red"] * 2 + ["dark red"] * 1 + ["blue"] * 7
    question = "What color is the car?"
    assert free_text_accuracy("red", question, references) >= vqa_accuracy("red", references)
    assert free_text_accuracy("The car is blue.", question, references) == vqa_accuracy("blue", references) == 1.0
    assert free_text_accuracy("The car is green.", question, references) == 0.0
    two = ["sofa"] * 2 + ["table"] * 8
    assert free_text_accuracy("It is a sofa.", "What is it?", two) == vqa_accuracy("sofa", two)


@pytest.mark.parametrize("kind", ["vqa10", "exact", "open", "entity"])
def test_the_rule_reaches_every_kind_of_answer(kind):
    asked = Question("d:s:1", "d", "s", ["x.jpg"], "What is on the desk?", kind, gold_answers=["a lamp"] * 10)
    assert score_answer("There is a lamp on the desk.", asked, FREE_TEXT) == (1.0, False)
    assert score_answer("There is no lamp on the desk.", asked, FREE_TEXT) == (0.0, False)


def test_an_option_named_in_a_sentence_is_parsed():
    asked = Question("d:s:1", "d", "s", ["x.jpg"], "Which gas?", "mc", choices=["oxygen", "neon"], gold_index=1)
    reply = "The tube glows because of the neon inside it."
    assert score_answer(reply, asked, FREE_TEXT) == (1.0, False)
    assert score_answer(reply, asked) == (0.0, True)
    assert is_unparsed("I see a tube.", asked, FREE_TEXT)


@pytest.mark.parametrize(
    "reply", ["", " ", "?!", "**", "\\boxed{}", "Answer:", "\u0000", "-", "no", "...", "1,2,3", "\U0001f600"]
)
@pytest.mark.parametrize("question", ["", "?", "Is it?", "How many?", "What color?", "Where", "Is there?"])
def test_odd_texts_are_read_without_an_error(reply, question):
    for gold in ("red", "2", "yes", "4:45", "", "?", "a and b"):
        free_text_match(reply, question, [gold])
    assert free_text_choice(reply, question, ["a", "b"]) in (None, 0, 1)


@pytest.mark.parametrize(
    ("file", "least"),
    [("sentence_replies_dev.jsonl", 0.99), ("sentence_replies_own.jsonl", 0.98), ("sentence_replies.jsonl", 0.92)],
)
def test_agreement_with_labelled_replies(file, least):
    """The rules were written with the first two files in view. The third, by the first's author, was kept back: agreement
    on it was 0.897 halfway and 0.924 at the end. Develop on the others, or it measures nothing."""
    agreed = defaultdict(list)
    for line in (DATA / file).read_text("utf-8").splitlines():
        row = json.loads(line)
        agreed[row["kind"]].append(_is_right(row) == row["right"])
    for kind, flags in sorted(agreed.items()):
        print(f"{kind}: {sum(flags)}/{len(flags)}")
    flags = [flag for found in agreed.values() for flag in found]
    print(f"{file}: {sum(flags) / len(flags):.4f} of {len(flags)}")
    assert sum(flags) / len(flags) >= least


def _is_right(row: dict) -> bool:
    if not row.get("choices"):
        return free_text_match(row["reply"], row["question"], row["gold"])
    index = free_text_choice(row["reply"], row["question"], row["choices"])
    return index is not None and row["choices"][index] in row["gold"]
