"""Each reader on small files in the official layout."""

import json
import re

import pytest
from benchmark_files import SPLITS

from inbol_ray.config.corpora import CorpusConfig
from inbol_ray.config.machines import StorageConfig
from inbol_ray.corpora.corpus_files import CorpusFiles
from inbol_ray.corpora.registry import READERS
from inbol_ray.corpora.source import CorpusSource, read_rows
from inbol_ray.errors import DataError
from inbol_ray.rows import Question, Rejected


def write(path, content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def touch(path) -> str:
    write(path, "")
    return str(path)


def rows_of(dataset: str, root, split: str) -> list[Question | Rejected]:
    with CorpusFiles(str(root), StorageConfig()) as files:
        return list(READERS[dataset](files, split))


def only(rows) -> Question:
    (row,) = rows
    assert isinstance(row, Question), row
    return row


@pytest.mark.parametrize("extension", [".jpg", ".png"])
def test_vqav2(tmp_path, extension):
    answers = [{"answer_id": k, "answer": "red" if k < 4 else "blue", "answer_confidence": "yes"} for k in range(1, 11)]
    write(
        tmp_path / "v2_OpenEnded_mscoco_train2014_questions.json",
        {"info": {}, "questions": [{"image_id": 9, "question_id": 9001, "question": "What color?"}]},
    )
    annotation = {
        "question_id": 9001,
        "image_id": 9,
        "answer_type": "other",
        "question_type": "what",
        "answers": answers,
    }
    write(
        tmp_path / "v2_mscoco_train2014_annotations.json",
        {"annotations": [annotation, {"question_id": 9002, "answers": []}, "no object"]},
    )
    image = touch(tmp_path / "train2014" / f"COCO_train2014_000000000009{extension}")
    question = only(rows_of("vqav2", tmp_path, "train2014"))
    meta = json.loads(question.meta)
    question.meta = ""
    assert question == Question(
        id="vqav2:train2014:9001",
        dataset="vqav2",
        split="train2014",
        images=[image],
        question="What color?",
        answer_kind="vqa10",
        gold_answers=["red"] * 3 + ["blue"] * 7,
        answerable=None,
        meta="",
    )
    assert meta == {"coco_image_id": 9, "question_type": "what", "answer_type": "other"}


def test_scienceqa(tmp_path):
    problem = {
        "question": "Which one is a solid?",
        "choices": ["rock", "air"],
        "answer": 0,
        "hint": "",
        "split": "test",
    }
    problems = {
        "12": problem | {"image": "image.png", "subject": "physics"},
        "13": problem | {"image": None},
        "14": problem | {"image": "image.png", "hint": "Look.", "split": "train"},
    }
    write(tmp_path / "problems.json", problems)
    write(tmp_path / "pid_splits.json", {"test": ["12", "13"], "minitrain": ["14"]})
    image = touch(tmp_path / "images" / "test" / "12" / "image.png")
    touch(tmp_path / "images" / "train" / "14" / "image.png")
    question, rejected = rows_of("scienceqa", tmp_path, "test")
    assert question.id == "scienceqa:test:12"
    assert question.images == [image]
    assert (question.answer_kind, question.choices, question.gold_index) == ("mc", ["rock", "air"], 0)
    assert (question.gold_answers, question.hint, question.answerable) == (["rock"], None, None)
    assert json.loads(question.meta)["subject"] == "physics"
    assert (rejected.id, rejected.reason) == ("scienceqa:test:13", "no_image")
    mini = only(rows_of("scienceqa", tmp_path, "minitrain"))
    assert (mini.id, mini.hint) == ("scienceqa:minitrain:14", "Look.")
    with pytest.raises(DataError, match=r"minitrain.*test"):
        rows_of("scienceqa", tmp_path, "validation")


def test_scienceqa_in_the_repository_layout(tmp_path):
    folder = tmp_path / "data" / "scienceqa"
    problem = {"question": "Which?", "choices": ["a", "b"], "answer": "1", "image": "image.png", "split": "val"}
    write(folder / "problems.json", {"3": problem})
    write(folder / "pid_splits.json", {"val": ["3"]})
    touch(folder / "images" / "val" / "3" / "image.png")
    assert only(rows_of("scienceqa", tmp_path, "val")).gold_index == 1


OVEN = {
    "data_id": "oven_entity_train_00000007",
    "image_id": "oven_01000007",
    "question": "what is the model of this aircraft?",
    "entity_id": "Q42",
    "entity_text": "Some Aircraft",
    "data_split": "entity_train",
}


@pytest.mark.parametrize(
    "image",
    ["images/01/oven_01000007.jpg", "01/oven_01000007.JPEG", "images/01/oven_01000007.JPEG", "01/oven_01000007.png"],
)
def test_oven(tmp_path, image):
    write(tmp_path / "oven_entity_train.jsonl", json.dumps(OVEN) + "\n\n")
    path = touch(tmp_path / image)
    question = only(rows_of("oven", tmp_path, "entity_train"))
    assert question.id == "oven:entity_train:oven_entity_train_00000007"
    assert question.images == [path]
    assert (question.answer_kind, question.gold_answers) == ("entity", ["Some Aircraft"])
    assert json.loads(question.meta) == {
        "image_id": "oven_01000007",
        "entity_id": "Q42",
        "data_split": "entity_train",
    }


def test_oven_image_at_its_source_path(tmp_path):
    write(tmp_path / "oven_entity_val.jsonl", json.dumps(OVEN) + "\n")
    write(
        tmp_path / "ovenid2impath.csv",
        "oven_01000007,gone.jpg\noven_00000001,x.jpg\noven_01000007,fgvc/7.jpg\nbroken\n",
    )
    path = touch(tmp_path / "fgvc" / "7.jpg")
    assert only(rows_of("oven", tmp_path, "entity_val")).images == [path]


VIZWIZ = {
    "image": "VizWiz_val_00000001.jpg",
    "question": "What is this?",
    "answers": [{"answer": "mug", "answer_confidence": "yes"}] * 4 + [{"answer": "unanswerable"}] * 6,
}


@pytest.mark.parametrize(
    ("fields", "answerable"),
    [
        ({"answerable": 1}, True),
        ({"answerable": 0}, False),
        ({"answerable": 1, "answer_type": "unanswerable"}, True),  # the field decides
        ({"answer_type": "unanswerable"}, False),
        ({"category": "other"}, True),
        ({}, False),
        ({"answers": ["mug"] * 6 + ["unanswerable"] * 4}, True),
    ],
)
@pytest.mark.parametrize(("folder", "images"), [("", "val/"), ("Annotations/", "")])
def test_vizwiz(tmp_path, fields, answerable, folder, images):
    write(tmp_path / f"{folder}val.json", [VIZWIZ | fields])
    path = touch(tmp_path / f"{images}VizWiz_val_00000001.jpg")
    question = only(rows_of("vizwiz", tmp_path, "val"))
    assert question.id == "vizwiz:val:VizWiz_val_00000001.jpg"
    assert question.images == [path]
    assert question.answerable is answerable
    assert question.answer_kind == "vqa10"
    assert len(question.gold_answers) == 10


@pytest.mark.parametrize("folder", ["", "data/"])
def test_vqav2_idk(tmp_path, folder):
    image = "val2014/COCO_val2014_000000000042.jpg"
    row = {
        "question_id": "42001",
        "image": image,
        "question": "Who?",
        "answer": ["unknown", "bob"] * 4,
        "keywords": ["unknown"] * 4,
    }
    write(tmp_path / f"{folder}VQAv2-IDK-val.json", [row])
    path = touch(tmp_path / image)
    question = only(rows_of("vqav2_idk", tmp_path, "val"))
    assert question.id == "vqav2_idk:val:42001"
    assert question.images == [path]
    assert question.answerable is False
    assert question.gold_answers == row["answer"]
    assert json.loads(question.meta) == {
        "coco_image_id": 42,
        "keywords": row["keywords"],
        "num_answers": 8,
        "num_idk_answers": 4,
    }


@pytest.mark.parametrize(
    ("keywords", "kept"),
    [
        (["unknown"] * 3, True),
        (["unknown", "don't know", "none", "not sure"], True),
        (["unknown"] * 2 + ["none"] * 6, False),
        ([], False),
    ],
)
def test_the_filtered_part_of_vqav2_idk_needs_three_people(tmp_path, keywords, kept):
    image = "val2014/COCO_val2014_000000000042.jpg"
    row = {"question_id": "1", "image": image, "question": "Who?", "answer": ["bob"] * 9, "keywords": keywords}
    write(tmp_path / "VQAv2-IDK-val.json", [row])
    touch(tmp_path / image)
    (found,) = rows_of("vqav2_idk_filtered", tmp_path, "val")
    assert found.id == "vqav2_idk_filtered:val:1"
    if kept:
        assert (found.answerable, json.loads(found.meta)["num_idk_answers"]) == (False, len(keywords))
    else:
        assert found.reason == "few_idk_answers" and "field 'keywords': found" in found.detail


@pytest.mark.parametrize(("dataset", "split"), SPLITS.items())
def test_a_missing_file_names_what_was_looked_for(tmp_path, dataset, split):
    with pytest.raises(DataError, match=rf"{re.escape(str(tmp_path))}: found no .*, expected .*`split`"):
        rows_of(dataset, tmp_path, split)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"image": "a', "not valid JSON"),
        ('{"image": 1}', "expected VizWiz annotations, a list"),
        ("", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        (b"\xff\xfe[]", "not valid JSON"),
    ],
)
def test_an_unreadable_file(tmp_path, content, message):
    path = tmp_path / "val.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message) as caught:
        rows_of("vizwiz", tmp_path, "val")
    assert str(path) in str(caught.value)


def test_a_vqav2_file_without_its_list(tmp_path):
    write(tmp_path / "v2_OpenEnded_mscoco_val2014_questions.json", {"annotations": []})
    write(tmp_path / "v2_mscoco_val2014_annotations.json", {"annotations": []})
    with pytest.raises(DataError, match="no list 'questions'"):
        rows_of("vqav2", tmp_path, "val2014")


def write_vizwiz(root, names) -> None:
    write(root / "val.json", [VIZWIZ | {"image": name, "answerable": 1} for name in names])
    for name in names:
        touch(root / "val" / name)


def read(root, **fields) -> list[Question | Rejected]:
    return list(
        read_rows(CorpusSource(CorpusConfig(dataset="vizwiz", split="val", root="unused", **fields), str(root)))
    )


def test_the_first_of_several_questions_with_one_id_is_kept(tmp_path):
    write_vizwiz(tmp_path, ["a.jpg", "b.jpg", "a.jpg", "a.jpg"])
    rows = read(tmp_path)
    assert [type(row) for row in rows] == [Question, Question, Rejected, Rejected]
    assert {(row.id, row.reason) for row in rows[2:]} == {("vizwiz:val:a.jpg", "duplicate_id")}
    for number, row in enumerate(rows[2:], start=2):
        for part in (str(tmp_path), f"row {number} (from 0)", "'id'", "found", "row 0 was", "expected", "remove"):
            assert part.lower() in row.detail.lower(), row.detail


def test_image_paths_are_absolute(tmp_path, monkeypatch):
    write_vizwiz(tmp_path, ["a.jpg"])
    monkeypatch.chdir(tmp_path)
    assert only(read(".")).images == [str(tmp_path / "val" / "a.jpg")]
