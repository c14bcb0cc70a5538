"""The format for a user's own questions."""

import json

import pytest
from corpus_writers import only, png, reasons, rows_of, write

from inbol_ray.config.schema import PipelineConfig
from inbol_ray.images import read_image_bytes
from inbol_ray.rows import Question

ROW = {"id": 1, "question": "What is on the desk?", "image": "desk.jpg", "answers": ["a lamp", "lamp"]}
CHOICE = {"id": 2, "question": "Which is larger?", "image": "desk.jpg", "choices": ["cat", "bus"], "answer": "B"}


@pytest.fixture
def desk(tmp_path) -> str:
    return write(tmp_path / "desk.jpg", png())


def test_the_examples_of_the_documentation(tmp_path, desk):
    refused = {"id": 3, "question": "What did he say before?", "images": ["desk.jpg", "desk.jpg"], "answerable": False}
    write(tmp_path / "train.jsonl", [ROW, CHOICE, refused])
    open_row, choice, unanswerable = rows_of("own", tmp_path, "train")
    assert open_row == Question(
        id="own:train:1",
        dataset="own",
        split="train",
        images=[desk],
        question="What is on the desk?",
        answer_kind="open",
        gold_answers=["a lamp", "lamp"],
    )
    assert (choice.answer_kind, choice.choices, choice.gold_index) == ("mc", ["cat", "bus"], 1)
    assert choice.gold_answers == ["bus"]
    assert (unanswerable.answerable, unanswerable.gold_answers, len(unanswerable.images)) == (False, [], 2)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"answres": ["x"]}, "unknown_field"),
        ({"answers": None}, "missing_field"),
        ({"answer_kind": "text"}, "wrong_type"),
        ({"answer_kind": "mc"}, "bad_choices"),
        ({"answer_kind": "open", "choices": ["a", "b"], "answer": 0}, "bad_choices"),
        ({"choices": ["a", "b"]}, "missing_field"),
        ({"choices": ["a", "b"], "answer": "C"}, "wrong_type"),
        ({"choices": ["a", "b"], "answer": 2}, "gold_out_of_range"),
        ({"answerable": "yes"}, "wrong_type"),
        ({"meta": "text"}, "wrong_type"),
        ({"image": None}, "missing_field"),
        ({"image": []}, "missing_image"),
        ({"image": ["desk.jpg"] * 9}, "missing_image"),
        ({"image": "gone.jpg"}, "missing_image"),
        ({"image": "../desk.jpg"}, "image_outside_root"),
        ({"image": "s3://other/desk.jpg"}, "image_outside_root"),
        ({"hint": 5}, "wrong_type"),
        ({"question": ""}, "empty_question"),
    ],
)
def test_a_bad_row_says_what_is_wrong(tmp_path, desk, fields, reason):
    write(tmp_path / "train.jsonl", [ROW | {"id": "good"}, ROW | {"id": "bad"} | fields])
    rows = rows_of("own", tmp_path, "train")
    assert rows[0].id == "own:train:good" and reasons(rows) == {"bad": reason}
    for part in ("train.jsonl, line 2, field", "found", "expected"):
        assert part in rows[1].detail


@pytest.mark.parametrize(("answer", "index"), [(0, 0), ("0", 0), ("A", 0), ("B", 1), ("bus", 1)])
def test_the_right_option_in_each_form(tmp_path, desk, answer, index):
    write(tmp_path / "train.jsonl", [CHOICE | {"answer": answer}])
    assert only(rows_of("own", tmp_path, "train")).gold_index == index


def test_an_option_that_is_a_letter_wins_over_the_letter(tmp_path, desk):
    write(tmp_path / "train.jsonl", [CHOICE | {"choices": ["B", "A"], "answer": "B"}])
    assert only(rows_of("own", tmp_path, "train")).gold_index == 0


def test_parquet_with_paths_and_embedded_images(tmp_path, desk):
    rows = [ROW | {"meta": json.dumps({"coco_image_id": 5})}, ROW | {"id": 2, "meta": None}]
    write(tmp_path / "train.parquet", rows)
    first, second = rows_of("own", tmp_path, "train")
    assert (first.images, json.loads(first.meta), second.meta) == ([desk], {"coco_image_id": 5}, "{}")
    embedded = [
        ROW | {"image": {"bytes": png(9), "path": None}},
        ROW | {"id": 2, "image": {"bytes": None, "path": "x"}},
    ]
    write(tmp_path / "test-00000-of-00001.parquet", embedded)
    rows = rows_of("own", tmp_path, "test")
    assert read_image_bytes(rows[0].images[0]) == png(9)
    assert reasons(rows) == {"2": "missing_image"}


def test_broken_lines_are_rejected_by_their_place(tmp_path, desk):
    lines = [json.dumps(ROW), "{", "", '"text"', "1" * 5000, json.dumps(CHOICE)]
    write(tmp_path / "train.jsonl", "\n".join(lines))
    rows = rows_of("own", tmp_path, "train")
    assert [row.id for row in rows if isinstance(row, Question)] == ["own:train:1", "own:train:2"]
    assert reasons(rows) == {"line 2": "malformed_row", "line 4": "wrong_type", "line 5": "malformed_row"}


def config_with(corpora: list[dict]) -> dict:
    base = {"name": "x", "base_model": {"kind": "checkpoint", "path": "p"}, "training": {}}
    return base | {"corpora": corpora, "evaluation": {"benchmarks": [], "methods": ["original"]}}


@pytest.mark.parametrize(
    ("corpora", "message"),
    [
        ([{"dataset": "vqa2", "split": "train", "root": "r"}], "expected one of vqav2, .*own"),
        ([{"dataset": "own", "split": "../train", "root": "r"}], "split"),
        ([{"dataset": "own", "split": "train", "root": root} for root in "ab"], "own:train.*twice"),
    ],
)
def test_a_wrong_corpus_is_an_error_of_the_configuration(corpora, message):
    with pytest.raises(ValueError, match=message):
        PipelineConfig.model_validate(config_with(corpora))
