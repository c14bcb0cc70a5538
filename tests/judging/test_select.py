"""Which refusals a judge is asked about."""

import json

import pytest

from inbol_ray.config.endpoint import EndpointConfig
from inbol_ray.config.judge import JudgeConfig
from inbol_ray.judging.select import kinds_to_ask
from inbol_ray.rows import Question

JUDGE = JudgeConfig(judges="both", which="all", endpoint=EndpointConfig(url="http://h/v1", model="j"))
OPTIONS = Question(
    *("q:1", "humblebench", "train", [], "Which?", "mc"),
    choices=["car", "bus", "None of the above"],
    gold_index=0,
    meta=json.dumps({"refusal_index": 2}),
)
OPEN = Question("q:2", "vqav2", "val", [], "What?", "vqa10", gold_answers=["cat"])


@pytest.mark.parametrize(
    ("question", "reply", "outcome", "kinds"),
    [
        (OPTIONS, "C", "refused", ()),  # the benchmark says that this option refuses
        (OPEN, "", "refused", ()),  # the server's filter told it
        (OPEN, "A cat.", "refused", ()),
        (OPEN, "<think>A cat?</think>I don't know.", "refused", ("refusal", "correctness")),
        (OPTIONS, "A", "correct", ("refusal", "correctness")),
        (OPEN, "", "error", ()),
    ],
)
def test_a_refusal_that_is_in_no_words_is_settled(question, reply, outcome, kinds):
    prediction = {"response": reply, "outcome": outcome, "unparsed": False}
    assert tuple(kinds_to_ask(prediction, question, JUDGE)) == kinds
