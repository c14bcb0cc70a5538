"""Yes or no in a reply, and TUBench's labels."""

import pytest

from inbol_ray.config.sampling import ScoringRules
from inbol_ray.rows import Question
from inbol_ray.scoring.outcome import judge_reply
from inbol_ray.scoring.yes_no import read_yes_no


@pytest.mark.parametrize(
    ("reply", "ours", "official"),
    [
        ("Yes.", "yes", "yes"),
        ("NO, it ends", "no", "no"),
        ("No. I would say yes only if it printed", "no", "yes"),
        ("Yes, there is no doubt", "yes", "yes"),
        ("Yesterday, nobody", None, None),
        ("", None, None),
    ],
)
def test_which_word(reply, ours, official):
    assert (read_yes_no(reply), read_yes_no(reply, official=True)) == (ours, official)


@pytest.mark.parametrize(
    ("reply", "answerable", "outcome"),
    [
        ("No, since it loops.", True, "correct"),
        ("Yes", True, "wrong"),
        ("It prints 1", True, "wrong"),
        ("Unanswerable", True, "refused"),
        ("Unanswerable\n\nExplanation: it is random.", False, "refused"),
        ("Answer: **Unanswerable**", False, "refused"),
        ("No", False, "wrong"),
    ],
)
def test_tubench(reply, answerable, outcome):
    gold = ["No"] if answerable else []
    meta = '{"strategy": "S5", "refusal_texts": ["Unanswerable"]}'
    question = Question("d:s:1", "tubench_ucr", "s", [], "Does it end?", "open", gold, answerable=answerable, meta=meta)
    assert judge_reply(reply, question).kind == outcome


def test_the_official_rule_is_a_setting():
    question = Question("d:s:1", "tubench_uvqa", "s", [], "Is it red?", "open", ["No"], answerable=True)
    reply = "No. I would say yes only if it glowed"
    assert judge_reply(reply, question).kind == "correct"
    assert judge_reply(reply, question, scoring=ScoringRules(rules="official")).kind == "wrong"
