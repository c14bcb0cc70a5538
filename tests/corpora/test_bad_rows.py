"""Bad rows of each kind among a thousand good ones: exactly the good ones come through, each other is explained."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from inbol_ray.config.corpora import CorpusConfig
from inbol_ray.corpora.source import CorpusSource, read_rows
from inbol_ray.rows import QUESTION, REJECTED, Question, Rejected

NUM_GOOD = 1000
LONG = "why " * 501
MISSING = object()


def check(dataset: str, split: str, root: Path, bad: dict[str, tuple[str, str]], num_good: int = NUM_GOOD) -> None:
    """`bad` maps the id of each bad row, without its prefix, to its reason and the field that the detail must name."""
    rows = list(read_rows(CorpusSource(CorpusConfig(dataset=dataset, split=split, root="unused"), str(root))))
    questions = [row for row in rows if isinstance(row, Question)]
    rejected = [row for row in rows if isinstance(row, Rejected)]
    assert len(questions) == num_good
    assert len({question.id for question in questions}) == num_good
    assert {row.id: row.reason for row in rejected} == {
        f"{dataset}:{split}:{native_id}": reason for native_id, (reason, _) in bad.items()
    }
    assert len(rejected) == len(bad)
    assert all(row.source == dataset for row in rejected)
    for row in rejected:
        _, field = bad[row.id.removeprefix(f"{dataset}:{split}:")]
        assert field in row.detail
        assert str(root) in row.detail
        for part in ("found", "expected", ". "):
            assert part in row.detail, row.detail
    # What was let through can be stored.
    pa.Table.from_pylist([question.to_row() for question in questions], schema=QUESTION)
    pa.Table.from_pylist([row.to_row() for row in rejected], schema=REJECTED)


def changed(row: dict, **fields) -> dict:
    return {key: value for key, value in (row | fields).items() if value is not MISSING}


def spread(good: list, bad: list) -> list:
    """The bad rows in between the good ones."""
    rows = list(good)
    for k, row in enumerate(bad):
        rows.insert((k * 37) % len(rows), row)
    return rows


QUESTION_FAULTS = [
    ({"question": MISSING}, "missing_field"),
    ({"question": None}, "missing_field"),
    ({"question": " \n"}, "empty_question"),
    ({"question": ""}, "empty_question"),
    ({"question": 5}, "wrong_type"),
    ({"question": LONG}, "question_too_long"),
    ({"question": "lone \ud800 surrogate"}, "bad_text"),
]


def answer_faults(field: str) -> list:
    return [
        ({field: MISSING}, "missing_field"),
        ({field: None}, "missing_field"),
        ({field: []}, "no_answers"),
        ({field: ["", " "]}, "no_answers"),
        ({field: "red"}, "wrong_type"),
        ({field: ["red", 5]}, "wrong_type"),
        ({field: [{"answer_confidence": "yes"}]}, "wrong_type"),
    ]


def with_ids(faults: list, name: str) -> list[tuple[str, dict, str, str]]:
    """(id, changed fields, reason, field that the detail names)"""
    return [(f"{name}{k}", fields, reason, next(iter(fields))) for k, (fields, reason) in enumerate(faults)]


def test_vizwiz(tmp_path):
    good = [
        {"image": f"g{k}.jpg", "question": "What?", "answers": [{"answer": "mug"}] * 10, "answerable": 1}
        for k in range(NUM_GOOD)
    ]
    faults = [
        *QUESTION_FAULTS,
        *answer_faults("answers"),
        ({"answerable": "maybe"}, "wrong_type"),
        ({"answerable": 2}, "wrong_type"),
    ]
    bad_rows = with_ids(faults, "b")
    rows = [changed(good[0], image=native_id, **fields) for native_id, fields, _, _ in bad_rows]
    (tmp_path / "val").mkdir()
    for row in good + rows:
        (tmp_path / "val" / row["image"]).touch()
    rows += [good[0] | {"image": "gone.jpg"}, good[0] | {"image": "../val.json"}]
    bad = {native_id: (reason, field) for native_id, _, reason, field in bad_rows}
    bad |= {"gone.jpg": ("missing_image", "image"), "../val.json": ("image_outside_root", "image")}
    # Rows without a usable id are known by their place.
    rows = spread(good, rows) + [
        good[0] | {"image": ""},
        good[0] | {"image": True},
        "text",
        changed(good[0], image=MISSING),
    ]
    for offset, reason in enumerate(["wrong_type", "wrong_type", "wrong_type", "missing_field"]):
        bad[f"list[{len(rows) - 4 + offset}]"] = (reason, "image")
    (tmp_path / "val.json").write_text(json.dumps(rows))
    check("vizwiz", "val", tmp_path, bad)


def test_vqav2_idk(tmp_path):
    image = "val2014/COCO_val2014_000000000001.jpg"
    (tmp_path / "val2014").mkdir()
    (tmp_path / image).touch()
    good = {"image": image, "question": "Who?", "answer": ["unknown"] * 8, "keywords": []}
    faults = [
        *QUESTION_FAULTS,
        *answer_faults("answer"),
        ({"image": MISSING}, "missing_field"),
        ({"image": "val2014/gone.jpg"}, "missing_image"),
        ({"image": 7}, "wrong_type"),
        ({"image": "\0"}, "missing_image"),
        ({"image": "x" * 5000}, "missing_image"),
        ({"image": "/absolute.jpg"}, "image_outside_root"),
    ]
    bad_rows = with_ids(faults, "b")
    rows = spread(
        [good | {"question_id": str(k)} for k in range(NUM_GOOD)],
        [changed(good, question_id=native_id, **fields) for native_id, fields, _, _ in bad_rows],
    )
    (tmp_path / "VQAv2-IDK-val.json").write_text(json.dumps(rows))
    check("vqav2_idk", "val", tmp_path, {native_id: (reason, field) for native_id, _, reason, field in bad_rows})


def test_vqav2(tmp_path):
    (tmp_path / "val2014").mkdir()
    (tmp_path / "val2014" / "COCO_val2014_000000000001.jpg").touch()
    question_faults = with_ids(
        [
            *QUESTION_FAULTS,
            ({"image_id": MISSING}, "missing_field"),
            ({"image_id": "one"}, "wrong_type"),
            ({"image_id": "1" * 5000}, "wrong_type"),
            ({"image_id": 1.5}, "wrong_type"),
            ({"image_id": 2}, "missing_image"),
        ],
        "q",
    )
    annotation_faults = with_ids(answer_faults("answers"), "a")
    good = [{"question_id": k, "image_id": 1, "question": "What?"} for k in range(NUM_GOOD)]
    questions = spread(
        good,
        [changed(good[0], question_id=native_id, **fields) for native_id, fields, _, _ in question_faults]
        + [good[0] | {"question_id": native_id} for native_id, _, _, _ in annotation_faults]
        + [good[0] | {"question_id": "alone"}, good[0] | {"question_id": "twice"}],
    )
    annotation = {"question_type": "what", "answer_type": "other", "answers": [{"answer": "red"}] * 10}
    annotations = spread(
        # Some copies hold ids as text.
        [annotation | {"question_id": str(k)} for k in range(NUM_GOOD)]
        + [annotation | {"question_id": native_id} for native_id, _, _, _ in question_faults],
        [changed(annotation, question_id=native_id, **fields) for native_id, fields, _, _ in annotation_faults]
        + [annotation | {"question_id": "twice"}] * 2
        + [[], {"answers": []}],
    )
    (tmp_path / "v2_OpenEnded_mscoco_val2014_questions.json").write_text(json.dumps({"questions": questions}))
    (tmp_path / "v2_mscoco_val2014_annotations.json").write_text(json.dumps({"annotations": annotations}))
    bad = {native_id: (reason, field) for native_id, _, reason, field in question_faults + annotation_faults}
    bad |= {"alone": ("missing_annotation", "question_id"), "twice": ("ambiguous_annotation", "question_id")}
    check("vqav2", "val2014", tmp_path, bad)


def test_scienceqa(tmp_path):
    (tmp_path / "images" / "test").mkdir(parents=True)
    good = {
        "question": "Which?",
        "choices": ["rock", "air"],
        "answer": 1,
        "hint": "",
        "image": "i.png",
        "split": "test",
    }
    faults = [
        *QUESTION_FAULTS,
        ({"choices": MISSING}, "missing_field"),
        ({"choices": "rock"}, "wrong_type"),
        ({"choices": ["rock", None]}, "wrong_type"),
        ({"choices": []}, "bad_choices"),
        ({"choices": ["rock"]}, "bad_choices"),
        ({"choices": ["rock", " "]}, "bad_choices"),
        ({"choices": ["x"] * 27}, "bad_choices"),
        ({"answer": MISSING}, "missing_field"),
        ({"answer": 2}, "gold_out_of_range"),
        ({"answer": -1}, "gold_out_of_range"),
        ({"answer": "B"}, "wrong_type"),
        ({"answer": True}, "wrong_type"),
        ({"hint": 5}, "wrong_type"),
        ({"image": None}, "no_image"),
        ({"image": "gone.png"}, "missing_image"),
        ({"image": "../../../problems.json"}, "image_outside_root"),
        ({"split": "train"}, "missing_image"),
    ]
    bad_rows = with_ids(faults, "b")
    bad = {native_id: (reason, "image" if field == "split" else field) for native_id, _, reason, field in bad_rows}
    problems = {str(k): good for k in range(NUM_GOOD)}
    problems |= {native_id: changed(good, **fields) for native_id, fields, _, _ in bad_rows}
    problems["text"] = "no object"
    for pid in problems:
        (tmp_path / "images" / "test" / pid).mkdir()
        (tmp_path / "images" / "test" / pid / "i.png").touch()
    pids = spread(list(range(NUM_GOOD)), [*bad, "text", "unheard-of"])
    bad |= {"text": ("missing_field", "question"), "unheard-of": ("missing_field", "question")}
    (tmp_path / "problems.json").write_text(json.dumps(problems))
    (tmp_path / "pid_splits.json").write_text(json.dumps({"test": pids}))
    check("scienceqa", "test", tmp_path, bad)


def test_oven(tmp_path):
    (tmp_path / "images" / "00").mkdir(parents=True)
    (tmp_path / "images" / "00" / "oven_00000001.JPEG").touch()
    good = {"image_id": "oven_00000001", "question": "What?", "entity_id": "Q1", "entity_text": "A thing"}
    faults = [
        *QUESTION_FAULTS,
        ({"entity_text": MISSING}, "missing_field"),
        ({"entity_text": ""}, "empty_text"),
        ({"entity_text": ["A thing"]}, "wrong_type"),
        ({"image_id": MISSING}, "missing_field"),
        ({"image_id": "oven_1"}, "bad_image_id"),
        ({"image_id": "oven_../../ab"}, "bad_image_id"),
        ({"image_id": "oven_00000002"}, "missing_image"),
    ]
    bad_rows = with_ids(faults, "b")
    lines = spread(
        [json.dumps(good | {"data_id": f"g{k}"}).encode() for k in range(NUM_GOOD)],
        [json.dumps(changed(good, data_id=native_id, **fields)).encode() for native_id, fields, _, _ in bad_rows],
    )
    bad = {native_id: (reason, field) for native_id, _, reason, field in bad_rows}
    broken = [b'{"data_id": "cut', b'{"data_id": "\xff"}', b"1" * 5000, b"[]", json.dumps(good).encode()]
    for k, reason in enumerate(["malformed_row", "malformed_row", "malformed_row", "wrong_type", "missing_field"]):
        bad[f"line {len(lines) + 1 + k}"] = (reason, "line")
    (tmp_path / "oven_entity_train.jsonl").write_bytes(b"\n".join(lines + broken))
    check("oven", "entity_train", tmp_path, bad)


@pytest.mark.parametrize(("num_words", "is_read"), [(500, True), (501, False)])
def test_the_longest_question_is_still_read(tmp_path, num_words, is_read):
    row = {"image": "a.jpg", "question": "why " * num_words, "answers": ["x"] * 10, "answerable": 1}
    (tmp_path / "val.json").write_text(json.dumps([row]))
    (tmp_path / "a.jpg").touch()
    bad = {} if is_read else {"a.jpg": ("question_too_long", "501 words")}
    check("vizwiz", "val", tmp_path, bad, num_good=int(is_read))
