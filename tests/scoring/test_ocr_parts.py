"""KIE-HVQA's similarities by hand, and what its replies are worth."""

import json

import pytest
from refusal_benchmark_files import ocr_object

from inbol_ray.rows import Question
from inbol_ray.scoring.ocr_parts import mean_similarity, read_parts, score_parts
from inbol_ray.scoring.outcome import judge_reply

TRUTH = ocr_object("1 9 8 4", "7", "19847")


def test_every_part_is_compared_without_blanks():
    scores = score_parts(ocr_object("1 9 4", "", "1984 7"), read_parts(TRUTH))
    # `194` against `1984`: two characters at their place of four, one edit of the longer four.
    assert scores == {"clear": (0.5, 0.75), "not_clear": (0.0, 0.0), "final": (1.0, 1.0)}
    assert mean_similarity(ocr_object("1 9 4", "", "1984 7"), read_parts(TRUTH)) == pytest.approx(1.75 / 3)


@pytest.mark.parametrize(
    ("said", "true", "expected"),
    [
        ("kitten", "sitting", (4 / 7, 1 - 3 / 7)),
        ("", "", (0.0, 1.0)),
        ("a", "", (0.0, 0.0)),
        ("abc", "xabc", (0.0, 0.75)),
    ],
)
def test_accuracy_and_similarity(said, true, expected):
    scores = score_parts(ocr_object("", "", said), read_parts(ocr_object("", "", true)))
    assert scores["final"] == pytest.approx(expected)


def test_a_reply_in_another_form_is_the_final_text():
    assert score_parts("19847", read_parts(TRUTH)) == {"clear": (0, 0), "not_clear": (0, 0), "final": (1.0, 1.0)}
    fenced = f"Here it is:\n```json\n{TRUTH}\n```"
    assert mean_similarity(fenced, read_parts(TRUTH)) == 1.0
    assert read_parts(TRUTH.lower()) == read_parts(TRUTH)
    assert read_parts("[1]") is read_parts("{}") is read_parts("{" * 50_000 + "}" * 50_000) is None


@pytest.mark.parametrize(
    ("reply", "legible", "outcome"),
    [
        (TRUTH, True, "correct"),
        (ocr_object("1 9", "", "19"), True, "wrong"),
        (ocr_object("", "", ""), True, "refused"),
        (f"```json\n{ocr_object('', '', '')}\n```", False, "refused"),
        ("The text is too blurry to read.", False, "refused"),
        (TRUTH, False, "wrong"),
        ("[]", False, "wrong"),
    ],
)
def test_outcomes(reply, legible, outcome):
    gold = [TRUTH if legible else ocr_object("", "", "")]
    meta = json.dumps({"empty_object_refuses": True})
    question = Question("k:test:1", "kie_hvqa", "test", [], "Read it.", "open", gold, answerable=legible, meta=meta)
    assert judge_reply(reply, question).kind == outcome
