"""The format for a user's own questions."""

import gzip
import json

import pytest
from corpus_writers import only, png, reasons, rows_of, write

from inbol_ray.config.machines import EngineConfig
from inbol_ray.config.schema import PipelineConfig
from inbol_ray.errors import DataError
from inbol_ray.images import MAX_IMAGES, read_image_bytes
from inbol_ray.pipeline import build_stages
from inbol_ray.rows import Question
from inbol_ray.sampling.engine_settings import engine_settings

ROW = {"id": 1, "question": "What is on the desk?", "image": "desk.jpg", "answers": ["a lamp", "lamp"]}
CHOICE = {"id": 2, "question": "Which is larger?", "image": "desk.jpg", "choices": ["cat", "bus"], "answer": "B"}


@pytest.fixture
def desk(tmp_path) -> str:
    return write(tmp_path / "desk.jpg", png())


def test_the_examples_of_the_documentation(tmp_path, desk):
    refused = {"id": 3, "question": "What did he say before?", "images": ["desk.jpg"], "answerable": False}
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
    assert (unanswerable.answerable, unanswerable.gold_answers, unanswerable.images) == (False, [], [desk])


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
        ({"image": ["desk.jpg"] * 2}, "several_images"),
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


def test_nothing_is_nothing_in_any_form(tmp_path, desk):
    """Nulls, NaN (which pandas writes into JSON and Parquet) and empty lists, as where rows of two kinds are mixed."""
    empty = {"choices": [], "answer": float("nan"), "hint": float("nan"), "answer_kind": None, "meta": float("nan")}
    rows = [
        ROW | empty | {"images": []},
        CHOICE | {"answers": [], "answer": 1.0, "hint": "nan", "images": None},
        {"id": 3.0, "question": "Who?", "image": "desk.jpg", "answers": [], "choices": [], "answerable": False},
    ]
    write(tmp_path / "train.jsonl", rows)
    first, second, third = rows_of("own", tmp_path, "train")
    assert (first.answer_kind, first.gold_answers, first.hint, first.meta) == ("open", ["a lamp", "lamp"], None, "{}")
    assert (second.gold_index, second.hint, second.images) == (1, None, [desk])
    assert (third.id, third.answerable, third.gold_answers) == ("own:train:3", False, [])


def test_an_image_by_its_path_alone(tmp_path):
    """Relative to the file or to the folder, or absolute below it, as `datasets` writes images it did not embed."""
    beside = write(tmp_path / "data" / "a.png", png(1))
    below = write(tmp_path / "images" / "b.png", png(2))
    paths = ["a.png", "images/b.png", below, "gone.png", "/etc/c.png"]
    rows = [
        ROW | {"id": number, "image": {"bytes": b"" if number else None, "path": path}}
        for number, path in enumerate(paths)
    ]
    write(tmp_path / "data" / "train.parquet", rows)
    found = rows_of("own", tmp_path, "train")
    assert [row.images for row in found[:3]] == [[beside], [below], [below]]
    assert reasons(found) == {"3": "missing_image", "4": "image_outside_root"}


@pytest.mark.parametrize("name", ["train.jsonl", "train.json", "data/train.json"])
@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_list_and_lines_are_told_apart_by_what_they_hold(tmp_path, desk, name, indent, mark):
    rows = [ROW, CHOICE]
    lines = "\r\n".join(json.dumps(row) for row in rows)
    for content in (json.dumps(rows, indent=indent), f"\n{lines}\n"):
        write(tmp_path / name, mark + content)
        assert [row.id for row in rows_of("own", tmp_path, "train")] == ["own:train:1", "own:train:2"]


def test_rows_after_the_end_of_a_list_are_not_lost_without_a_word(tmp_path, desk):
    write(tmp_path / "train.jsonl", json.dumps([ROW]) + "\n" + json.dumps(CHOICE))
    with pytest.raises(DataError, match="more follows after the end of the list"):
        rows_of("own", tmp_path, "train")


def test_engines_take_as_many_images_as_readers_let_through(tmp_path, desk):
    assert engine_settings("m", EngineConfig(), 0, None)["limit_mm_per_prompt"] == {"image": MAX_IMAGES}
    write(tmp_path / "train.jsonl", [ROW | {"images": ["desk.jpg"] * (MAX_IMAGES + 1)}])
    (row,) = rows_of("own", tmp_path, "train")
    assert row.reason == "several_images" and f"found {MAX_IMAGES + 1} images" in row.detail


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (json.dumps(ROW).encode("utf-16"), "UTF-16"),
        (json.dumps(ROW).encode("utf-16-le"), "UTF-16"),
        (gzip.compress(json.dumps(ROW).encode()), "gunzip"),
        (b"PK\x03\x04...", "zip archive"),
        (b"PAR1....", "ending .parquet"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"\n<!DOCTYPE html><html>", "web page"),
    ],
)
def test_a_file_that_is_something_else_says_what(tmp_path, content, cause):
    path = write(tmp_path / "train.jsonl", content)
    with pytest.raises(DataError, match=cause) as caught:
        rows_of("own", tmp_path, "train")
    assert path in str(caught.value) and "\n" not in str(caught.value)


def test_a_pointer_in_place_of_parquet_says_so(tmp_path):
    (tmp_path / "train.parquet").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(DataError, match="git lfs pull"):
        rows_of("own", tmp_path, "train")


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
        (
            [{"dataset": "vqa2", "split": "train", "root": "r"}],
            r"corpora\[0\].dataset: no reader .*expected one of vqav2, .*own.*found .vqa2",
        ),
        ([{"dataset": "own", "split": "../train", "root": "r"}], "split"),
        ([{"dataset": "own", "split": "train", "root": root} for root in "ab"], "own:train.*twice"),
    ],
)
def test_a_wrong_corpus_is_an_error_of_the_configuration(corpora, message):
    with pytest.raises(ValueError, match=message):
        build_stages(PipelineConfig.model_validate(config_with(corpora)))
