"""Scores of (model, benchmark) pairs by hand: rotations, classes, answerability, knowledge."""

import json

import pyarrow as pa
import pytest
from refusal_benchmark_files import ocr_object

from inbol_ray.config.sampling import ClassConfig, ScoringRules
from inbol_ray.corpora.breakdown import question_classes, question_group
from inbol_ray.evaluation.benchmark_scores import merge_rotations, score_benchmarks
from inbol_ray.rows import PREDICTION, Question

CLASSES = ClassConfig(delta_known=0.7, delta_unknown=0.3)


def row(number, outcome, **columns) -> dict:
    return {
        "id": f"gqa:testdev:{number}",
        "benchmark": "gqa",
        "domain": "out_of_domain",
        "classes": "{}",
        "method": "original",
        "seed": 0,
        "answerable": True,
        "outcome": outcome,
        "unparsed": False,
        "score": float(outcome == "correct"),
    } | columns


def score(*rows: dict) -> list[dict]:
    return score_benchmarks(pa.Table.from_pylist(list(rows), schema=PREDICTION), CLASSES)


def rotations(group: int, *outcomes: str, **columns) -> list[dict]:
    shared = {"benchmark": "mmbench", "group": f"mmbench:en:{group}"} | columns
    return [row(0, outcome, id=f"mmbench:en:{k * 1_000_000 + group}", **shared) for k, outcome in enumerate(outcomes)]


@pytest.mark.parametrize(
    ("outcomes", "merged"),
    [
        (["correct", "correct", "correct"], "correct"),
        (["correct", "wrong", "correct"], "wrong"),
        (["refused", "wrong", "correct"], "wrong"),
        (["correct", "correct", "refused"], "refused"),
        (["refused", "refused"], "refused"),
        (["correct", "error", "refused"], "error"),
        (["wrong"], "wrong"),
    ],
)
def test_a_question_of_mmbench_is_as_good_as_its_worst_rotation(outcomes, merged):
    table = merge_rotations(pa.Table.from_pylist(rotations(7, *outcomes), schema=PREDICTION))
    assert (table["outcome"].to_pylist(), table["id"].to_pylist()) == ([merged], ["mmbench:en:7"])


def test_mmbench_is_scored_circularly_with_vanilla_beside_it():
    both = rotations(1, "correct", "correct") + rotations(2, "correct", "wrong") + rotations(3, "refused", "wrong")
    (scored,) = score(*both)
    assert (scored["num_questions"], scored["acc"], scored["refr"]) == (3, pytest.approx(100 / 3), 0.0)
    vanilla = scored["vanilla"]
    assert (vanilla["num_questions"], vanilla["acc"]) == (3, pytest.approx(200 / 3))
    assert vanilla["refr"] == pytest.approx(100 / 3)


def test_rotations_of_two_methods_stay_apart():
    first, second = score(*rotations(1, "correct", "wrong"), *rotations(1, "correct", "correct", method="sft"))
    assert (first["method"], first["acc"], second["method"], second["acc"]) == ("original", 0.0, "sft", 100.0)


def test_classes_answerability_and_knowledge():
    (scored,) = score(
        row(1, "correct", classes='{"form": "open", "seen": "a"}', base_confidence=0.9),
        row(2, "wrong", classes='{"form": "open"}', base_confidence=0.5, score=0.3),
        row(3, "refused", classes='{"form": "binary"}', base_confidence=0.1),
        row(4, "refused", answerable=False),
        row(5, "wrong", answerable=False, base_confidence=0.9),
    )
    assert scored["vanilla"] is None and scored["harmonic_acc"] is None
    assert scored["score"] == pytest.approx(100 * 1.3 / 5)
    form = scored["classes"]["form"]
    assert (form["open"]["num_questions"], form["open"]["acc"], form["binary"]["refr"]) == (2, 50.0, 100.0)
    assert scored["classes"]["seen"]["a"]["num_questions"] == 1
    assert (scored["answerable"]["num_questions"], scored["unanswerable"]["refr"]) == (3, 50.0)
    assert scored["knowledge"]["known"]["acc"] == 100.0
    assert scored["knowledge"]["mixed"]["num_questions"] == 1
    # What an image cannot answer is Unknown, whatever was sampled.
    assert scored["knowledge"]["unknown"]["num_questions"] == 2
    # Two refusals of which one is right, two unanswerable questions: precision and recall 1/2.
    assert scored["refusal_f1"] == 50.0
    json.dumps(scored, allow_nan=False)


def test_oven_has_the_harmonic_mean_of_seen_and_unseen():
    seen = [row(k, "correct" if k < 3 else "wrong", classes='{"entities": "seen"}') for k in range(4)]
    unseen = [row(k + 4, "correct" if k < 1 else "wrong", classes='{"entities": "unseen"}') for k in range(4)]
    (scored,) = score(*seen, *unseen)
    assert scored["harmonic_acc"] == pytest.approx(2 / (1 / 75 + 1 / 25))


def oven_rows(num_seen: int, num_unseen: int, of: int) -> list[dict]:
    counts = {"seen": num_seen, "unseen": num_unseen}
    return [
        row(number + of * place, "correct" if number < count else "wrong", classes=json.dumps({"entities": name}))
        for place, (name, count) in enumerate(counts.items())
        for number in range(of)
    ]


def test_ovens_own_code_rounds_both_halves_first():
    rows = oven_rows(1, 2, of=3)
    official = ScoringRules(rules="official")
    table = pa.Table.from_pylist(rows, schema=PREDICTION)
    (theirs,) = score_benchmarks(table, CLASSES, official)
    assert theirs["harmonic_acc"] == pytest.approx(2 / (1 / 33.33 + 1 / 66.67), abs=1e-9)
    (ours,) = score_benchmarks(table, CLASSES)
    assert ours["harmonic_acc"] == pytest.approx(400 / 9, abs=1e-9)


def test_a_half_of_nothing_right_leaves_next_to_nothing():
    (scored,) = score(*oven_rows(0, 2, of=4))
    assert scored["harmonic_acc"] == pytest.approx(2e-12, rel=1e-6)


def ask(dataset, **meta) -> Question:
    return Question(f"{dataset}:val:1", dataset, "val", [], "?", "open", meta=json.dumps(meta))


@pytest.mark.parametrize(
    ("question", "classes"),
    [
        (ask("vqav2", answer_type="number", question_type="how many"), {"answer_type": "number"}),
        (ask("oven", data_split="query_val_unseen"), {"set": "query", "entities": "unseen"}),
        (ask("oven", data_split="entity_val_seen"), {"set": "entity", "entities": "seen"}),
        (ask("oven", data_split=None), {}),
        (ask("gqa", structural="query", semantic="attr", is_balanced=True),
         {"form": "open", "structural": "query", "semantic": "attr", "balanced": "yes"}),
        (ask("gqa", structural="verify", semantic=None, is_balanced=None), {"form": "binary", "structural": "verify"}),
        (ask("mmmu", subject="Art", question_type="open", multi_image=False),
         {"subject": "Art", "question_type": "open", "multi_image": "no"}),
        (ask("vqav2_idk", num_idk_answers=3, num_answers=10), {"three_say_so": "yes", "half_say_so": "no"}),
        (ask("vqav2_idk", num_idk_answers=4, num_answers=8), {"three_say_so": "yes", "half_say_so": "yes"}),
        (ask("mohobench", category="False_Premises", reason="x"), {"category": "False_Premises"}),
        (ask("own", anything=1), {}),
    ],
)  # fmt: skip
def test_question_classes(question, classes):
    assert question_classes(question) == classes
    assert question_group(question) is None


def test_rotations_share_the_group_of_the_unrotated_question():
    question = Question("mmbench:en:2000007", "mmbench", "en", [], "?", "mc", meta=json.dumps({"group": 7}))
    assert question_group(question) == "mmbench:en:7"


def twins(pair: int, standard: list[str], upd: list[str], **columns) -> list[dict]:
    """A solvable question and its unsolvable twin, each with as many rotations as outcomes."""
    rows = []
    for kind, outcomes in (("standard", standard), ("upd", upd)):
        name = f"mmaad_base:test:{kind}-"
        shared = {"benchmark": "mmaad_base", "pair": f"mmaad_base:test:{pair}", "group": f"{name}{pair}"} | columns
        for k, outcome in enumerate(outcomes):
            rows.append(row(0, outcome, id=f"{name}{k * 1_000_000 + pair}", answerable=kind == "standard", **shared))
    return rows


def test_a_pair_counts_only_if_both_of_its_questions_are_right():
    (scored,) = score(
        *twins(1, ["correct", "correct"], ["refused"], classes='{"category": "ocr"}'),
        *twins(2, ["correct", "correct"], ["refused", "wrong"]),
        *twins(3, ["correct", "refused"], ["refused"]),
        *twins(4, ["correct"], ["correct"]),  # the masked answer was named
        *twins(5, ["correct"], []),  # its twin was rejected
    )
    assert (scored["pairs"]["num_pairs"], scored["pairs"]["right_rate"]) == (4, 50.0)
    assert (scored["answerable"]["num_questions"], scored["answerable"]["right_rate"]) == (5, 80.0)
    assert (scored["unanswerable"]["num_questions"], scored["unanswerable"]["right_rate"]) == (4, 75.0)
    assert scored["right_rate"] == pytest.approx(700 / 9)
    assert scored["unanswerable"]["refr"] == 50.0
    # Answered four of five, refused two of four.
    assert scored["answerability_acc"] == pytest.approx(600 / 9)
    ocr = scored["pairs"]["classes"]["category"]["ocr"]
    assert (ocr["num_pairs"], ocr["right_rate"]) == (1, 100.0)
    low, high = scored["pairs"]["right_rate_interval"]
    assert low < 50 < high


def test_without_unanswerable_questions_the_right_rate_is_acc():
    (scored,) = score(row(1, "correct"), row(2, "refused"), row(3, "wrong"), row(4, "error"))
    assert scored["right_rate"] == scored["acc"] == 25.0
    assert scored["right_rate_interval"] == scored["acc_interval"]
    assert scored["pairs"] is scored["answerability_acc"] is None
    assert scored["unanswerable"]["right_rate"] is scored["unanswerable"]["right_rate_interval"] is None


def test_the_refusal_rate_by_type_is_the_right_rate():
    kinds = ["False_Premises"] * 4 + ["Vague_Description"] * 2
    outcomes = ["refused", "wrong", "error", "refused", "wrong", "refused"]
    (scored,) = score(
        *(
            row(k, outcome, benchmark="mohobench", answerable=False, classes=json.dumps({"category": kind}))
            for k, (kind, outcome) in enumerate(zip(kinds, outcomes, strict=True))
        )
    )
    by_type = scored["classes"]["category"]
    assert {name: one["right_rate"] for name, one in by_type.items()} == {"False_Premises": 50, "Vague_Description": 50}
    assert by_type["False_Premises"]["refr"] == scored["right_rate"] == scored["unanswerable"]["refr"] == 50


def test_kie_hvqa_has_accuracy_and_similarity_of_its_three_texts():
    truth = ocr_object("1 9", "7", "197")
    kie = {"benchmark": "kie_hvqa", "gold_answers": [truth]}
    (scored,) = score(
        row(1, "correct", response=truth, **kie),
        row(2, "wrong", response=ocr_object("1 9", "", "1"), **kie),
        row(3, "refused", response="", **kie),
        row(4, "error", response="197", **kie),  # what went wrong, not a reply
    )
    assert scored["own"] == pytest.approx(
        {
            "clear_accuracy": 50.0,
            "clear_similarity": 50.0,
            "not_clear_accuracy": 25.0,
            "not_clear_similarity": 25.0,
            "final_accuracy": 100 / 3,
            "final_similarity": 100 / 3,
        }
    )
    (other,) = score(row(1, "correct"))
    assert other["own"] is None
