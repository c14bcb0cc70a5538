"""The refusal detector on replies whose author has not seen it, and on those that its callers rely on."""

import json
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inbol_ray.method.prompts import REFUSALS
from inbol_ray.rows import Question
from inbol_ray.scoring import refusal
from inbol_ray.scoring.plain_replies import plain_answers
from inbol_ray.scoring.refusal import detect_refusal, detect_refusals, option_refuses
from inbol_ray.scoring.refusal_training import REPLIES

STRANGERS = [
    json.loads(line)
    for line in (Path(__file__).parent / "data" / "refusal_replies.jsonl").read_text("utf-8").splitlines()
]
"""860 replies in 14 languages, labelled by an author who had read the definition and nothing else of this project. The levels below are what was
reached, in three measurements of which none but the numbers was looked at."""

_PLAIN = (
    "meadow volcano nectar tundra circle steppe glacier beetles berries lantern trombone velvet saffron cobalt marble harbour "
    "accordion walrus fennel pagoda turquoise plaid sledge gravel awning sombrero compass thistle cinnamon kayak"
)
MISTAKEN = pytest.mark.xfail(reason="a known mistake of the network", strict=True)
PLAIN_WORDS = _PLAIN.split()


def ask(text, choices=(), **fields) -> Question:
    kind = "mc" if choices else "vqa10"
    return Question("d:s:1", "d", "s", ["x.jpg"], text, kind, choices=list(choices), **fields)


def question_of(row: dict) -> Question | None:
    return ask(row["question"], row.get("choices", ())) if row.get("question") else None


def precision_and_recall(rows, verdicts) -> tuple[float, float]:
    right = sum(verdict.refused and row["refusal"] for row, verdict in zip(rows, verdicts, strict=True))
    return right / sum(verdict.refused for verdict in verdicts), right / sum(row["refusal"] for row in rows)


@pytest.mark.parametrize(
    ("part", "with_question", "least"),
    [("en", True, 0.88), ("en", False, 0.72), ("other", True, 0.85)],
)
def test_precision_and_recall_on_strangers_replies(part, with_question, least):
    rows = [row for row in STRANGERS if (row["language"] == "en") is (part == "en")]
    verdicts = detect_refusals(
        [row["reply"] for row in rows], [question_of(row) if with_question else None for row in rows]
    )
    precision, recall = precision_and_recall(rows, verdicts)
    print(f"{part}, {with_question=}: {len(rows)} replies, precision {precision:.3f}, recall {recall:.3f}")
    by_kind = defaultdict(list)
    for row, verdict in zip(rows, verdicts, strict=True):
        by_kind[row["kind"]].append(verdict.refused == row["refusal"])
    for kind, right in sorted(by_kind.items()):
        print(f"  {kind:<32} {sum(right):>3} of {len(right):>3} right")
    assert min(precision, recall) >= least


def test_the_strangers_replies_are_of_many_kinds_and_none_was_trained_on():
    trained = [json.loads(line) for file in REPLIES.glob("*.jsonl") for line in file.open(encoding="utf-8")]
    assert not {(row.get("question"), row["reply"]) for row in trained} & {
        (row["question"], row["reply"]) for row in STRANGERS
    }
    # Short ones, such as `Your guess is as good as mine.`, are anybody's.
    assert not {row["reply"] for row in trained} & {row["reply"] for row in STRANGERS if len(row["reply"]) > 60}
    assert len(STRANGERS) >= 800
    assert len({row["kind"] for row in STRANGERS}) >= 30
    assert len({row["language"] for row in STRANGERS}) >= 11


def test_plain_answers_refuse_nothing():
    """Of words, numbers and names that the training has not: the seed is another."""
    questions = [row["question"] for row in STRANGERS if row["question"]]
    rows = list(plain_answers(PLAIN_WORDS, questions, 500, seed=12345))
    verdicts = detect_refusals([row["reply"] for row in rows], [ask(row["question"]) for row in rows])
    mistaken = [row["reply"] for row, verdict in zip(rows, verdicts, strict=True) if verdict.refused]
    print(f"{len(mistaken)} of {len(rows)} plain answers are taken for refusals: {mistaken}")
    assert len(mistaken) <= 10


@pytest.mark.parametrize("reply", [text for texts in REFUSALS.values() for text in texts])
def test_every_training_template_is_detected(reply):
    for said in (reply, reply.upper(), reply.rstrip("."), reply.replace("'", "\u2019"), f" {reply}\n"):
        for question in (None, ask("What color is the bus?"), ask("Is there a dog?"), ask("How many cars are there?")):
            assert detect_refusal(said, question).refused, said


@pytest.mark.parametrize(
    ("question", "reply", "refused"),
    [
        ("Is there a dog?", "There is no dog.", False),
        ("What color is the dog?", "There is no dog in the picture.", True),
        ("How many dogs are there?", "None.", False),
        ("What does the plate say?", "The plate is not visible.", True),
        ("Is the plate visible?", "It is not visible.", False),
        ("What plane is it?", "I'm not sure, but it looks like a Cessna 172.", False),
        ("What is the boy doing?", "He cannot swim.", False),
        ("What does the sign say?", 'The sign says "Sorry, we are closed".', False),
        ("What brand is the bottle?", "<think>Is it a Cola? I think so.</think>I can't tell.", True),
        ("What color is it?", "<think>I don't know whether it is red. Look closer.</think>\nblue", False),
        ("What time is it?", "Without more context, it is impossible to say.", True),
        ("O que \u00e9 isto?", "Desculpe, n\u00e3o posso responder a isso.", True),
        pytest.param("\u6709\u51e0\u53ea\u732b\uff1f", "\u4e24\u53ea\u3002", False, marks=MISTAKEN),
        (None, "I can't answer that.", True),
        (None, "red", False),
        (None, "", False),
        (None, " \n", False),
    ],
)
def test_the_question_and_the_whole_reply_decide(question, reply, refused):
    assert detect_refusal(reply, ask(question) if question else None).refused is refused


def test_a_hedged_answer_is_flagged_and_not_refused():
    found = detect_refusal("I'm not sure, but it looks like a Cessna 172.", ask("What plane is it?"))
    assert (found.refused, found.hedged) == (False, True)
    assert not detect_refusal("A Cessna 172.", ask("What plane is it?")).hedged


SORRY = "Sorry, I can't help with it"


@pytest.mark.parametrize(
    ("choices", "reply", "refused"),
    [
        (["cat", SORRY, "dog"], "B", True),
        (["cat", SORRY, "dog"], "B. " + SORRY, True),
        (["cat", SORRY, "dog"], SORRY, True),
        (["cat", SORRY, "dog"], "The answer is B.", True),
        (["cat", SORRY, "dog"], "The answer is A.", False),
        (["cat", SORRY, "dog"], "A", False),
        (["cat", SORRY, "dog"], "I can't help with it.", True),
        (["cat", "hen", "dog"], SORRY, True),
        (["cat", "hen", "dog"], "I don't know", True),
        (["yes", "no", "not sure"], "C", True),
        (["yes", "no", "cannot be determined"], "C", True),
        (["yes", "no", "cannot be determined"], "B", False),
    ],
)
def test_a_reply_that_names_an_option_refuses_only_if_the_option_does(choices, reply, refused):
    assert detect_refusal(reply, ask("Which?", choices)).refused is refused


def test_options_may_stand_in_the_question_itself():
    question = "Which?\nA. x\nB. y\nC. cannot be determined"
    assert not detect_refusal("The answer is B.", ask(question)).refused
    assert detect_refusal("C", ask(question)).refused


def test_the_reference_answer_of_an_answerable_question_is_an_answer():
    choices = ["cat", "cannot be determined"]
    assert not detect_refusal("B", ask("Which?", choices, gold_index=1)).refused
    assert detect_refusal("B", ask("Which?", choices, gold_index=0)).refused
    assert detect_refusal("B", ask("Which?", choices, gold_index=1, answerable=False)).refused


@pytest.mark.parametrize(
    "option", ["red", "12", "none", "Both of them", "The Unknown Soldier", "it is not visible at night"]
)
def test_ordinary_options_refuse_nothing(option):
    assert not option_refuses(option)


@settings(deadline=None)
@given(st.text(max_size=60), st.sampled_from(["", "I don't know. ", "unclear '", "\"I can't tell", "but "]))
def test_any_text_is_judged(text, prefix):
    found = detect_refusal(prefix + text, ask("Do I know?", ["I", text or "x"]))
    assert 0 <= found.probability <= 1
    assert not (found.refused and found.hedged)


def test_a_batch_gives_the_verdicts_of_single_replies():
    rows = STRANGERS[::7]
    together = detect_refusals([row["reply"] for row in rows], [question_of(row) for row in rows])
    alone = [detect_refusal(row["reply"], question_of(row)) for row in reversed(rows)]
    assert together == alone[::-1]
    assert detect_refusals([], []) == []


def test_verdicts_that_were_prepared_are_not_computed_again(monkeypatch):
    replies = [row["reply"] for row in STRANGERS[:6]]
    monkeypatch.setattr(refusal, "_KNOWN", {})
    monkeypatch.setattr(refusal, "_CACHE_SIZE", 3)  # even where more came together than are kept otherwise
    together = detect_refusals(replies, [None] * len(replies))
    monkeypatch.setattr(refusal, "_judge", lambda pairs: pytest.fail(f"judged again: {pairs}"))
    assert [detect_refusal(reply) for reply in replies] == together


def test_dress_changes_nothing():
    for row in STRANGERS[:300:3]:
        if row["language"] == "en" and "'" in row["reply"] and '"' not in row["reply"]:
            curly = row["reply"].replace("'", "\u2019")
            first, second = (detect_refusal(said, question_of(row)) for said in (row["reply"], f"  {curly}\n"))
            assert first == second, curly


def test_a_plain_answer_and_a_plain_refusal_are_sure():
    question = ask("What color is it?")
    answer, decline = detect_refusals(["It is red.", "I can't tell."], [question, question])
    assert (answer.refused, answer.hedged, answer.unsure) == (False, False, False)
    assert (decline.refused, decline.hedged, decline.unsure) == (True, False, False)
    assert answer.probability < 0.15 and decline.probability > 0.85
