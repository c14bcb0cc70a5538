"""Readers of the evaluation sets on small files in their official form and as the hub's Parquet copies."""

import base64
import json

import pytest
from corpus_writers import only, png, reasons, rows_of, write

from inbol_ray.errors import DataError
from inbol_ray.images import read_image_bytes
from inbol_ray.rows import Question

AOKVQA = {
    "question_id": "2aB",
    "image_id": 42,
    "question": "What is he awaiting?",
    "choices": ["bus", "cab", "dog", "cat"],
    "correct_choice_idx": 1,
    "direct_answers": ["cab", "taxi", "cab"],
    "difficult_direct_answer": False,
}
AOKVQA_META = {"coco_image_id": 42, "direct_answers": ["cab", "taxi", "cab"], "difficult_direct_answer": False}


def test_aokvqa(tmp_path):
    hidden = AOKVQA | {"question_id": "hidden", "correct_choice_idx": None}
    write(tmp_path / "aokvqa_v1p0_val.json", [AOKVQA, hidden])
    image = write(tmp_path / "val2017" / "000000000042.jpg", png())
    question, rejected = rows_of("aokvqa", tmp_path, "val")
    meta = json.loads(question.meta)
    question.meta = ""
    assert question == Question(
        id="aokvqa:val:2aB",
        dataset="aokvqa",
        split="val",
        images=[image],
        question="What is he awaiting?",
        answer_kind="mc",
        gold_answers=["cab"],
        choices=["bus", "cab", "dog", "cat"],
        gold_index=1,
        meta="",
    )
    assert meta == AOKVQA_META
    assert rejected.reason == "hidden_answer"


def test_aokvqa_direct_answers(tmp_path):
    difficult = AOKVQA | {"question_id": "hard", "difficult_direct_answer": True}
    without = AOKVQA | {"question_id": "none", "direct_answers": None}
    write(tmp_path / "aokvqa_v1p0_val.json", [AOKVQA, difficult, without])
    write(tmp_path / "val2017" / "000000000042.jpg", png())
    rows = rows_of("aokvqa_direct", tmp_path, "val")
    question = only(rows[:1])
    assert (question.id, question.answer_kind, question.choices) == ("aokvqa_direct:val:2aB", "open", [])
    assert question.gold_answers == ["cab", "taxi", "cab"]  # repeats count in the score
    assert reasons(rows) == {"hard": "difficult_direct_answer", "none": "hidden_answer"}


@pytest.mark.parametrize("as_text", [False, True])
def test_aokvqa_parquet(tmp_path, as_text):
    row = {key: value for key, value in AOKVQA.items() if key != "image_id"} | {"image": {"bytes": png(), "path": None}}
    if as_text:
        row["direct_answers"] = str(row["direct_answers"])
    write(tmp_path / "data" / "validation-00000-of-00001.parquet", [row])
    question = only(rows_of("aokvqa", tmp_path, "val"))
    assert read_image_bytes(question.images[0]) == png()
    assert json.loads(question.meta) == AOKVQA_META | {"coco_image_id": None}


@pytest.mark.parametrize("text", ["[__import__('os').getpid()]", "['a', 5]", "['cut", "[" * 90_000, "{'a': 1}"])
def test_a_list_in_text_is_parsed_but_never_evaluated(tmp_path, text):
    write(tmp_path / "aokvqa_v1p0_val.json", [AOKVQA | {"direct_answers": text}])
    write(tmp_path / "val2017" / "000000000042.jpg", png())
    assert reasons(rows_of("aokvqa", tmp_path, "val")) == {"2aB": "wrong_type"}


GQA = {
    "question": "Is it red?",
    "imageId": "n77",
    "answer": "no",
    "fullAnswer": "No.",
    "isBalanced": True,
    "types": {"structural": "verify", "semantic": "attr"},
}
GQA_META = {"image_id": "n77", "structural": "verify", "semantic": "attr", "is_balanced": True}


def test_gqa(tmp_path):
    rows = {"0123": GQA, "07": GQA | {"types": None}, "8": GQA | {"answer": None}, "9": "text"}
    write(tmp_path / "testdev_balanced_questions.json", rows)
    image = write(tmp_path / "images" / "n77.jpg", png())
    first, second, *rejected = rows_of("gqa", tmp_path, "testdev_balanced")
    assert (first.id, first.images, first.answer_kind) == ("gqa:testdev_balanced:0123", [image], "exact")
    assert first.gold_answers == ["no"]
    assert json.loads(first.meta) == GQA_META
    assert json.loads(second.meta)["structural"] is None
    assert [row.reason for row in rejected] == ["hidden_answer", "wrong_type"]


def test_gqa_parquet_joins_questions_and_images(tmp_path):
    questions = [GQA | {"id": "0123"}, GQA | {"id": "0124", "imageId": "n78"}]
    write(tmp_path / "testdev_balanced_instructions" / "testdev-00000-of-00001.parquet", questions)
    with pytest.raises(DataError, match="GQA's images"):
        rows_of("gqa", tmp_path, "testdev_balanced")
    images = [{"id": "n77", "image": {"bytes": png(1), "path": "n77.jpg"}}, {"id": "n79", "image": None}]
    write(tmp_path / "testdev_balanced_images" / "testdev-00000-of-00001.parquet", images)
    rows = rows_of("gqa", tmp_path, "testdev_balanced")
    assert read_image_bytes(rows[0].images[0]) == png(1)
    assert json.loads(rows[0].meta) == GQA_META
    assert reasons(rows) == {"0124": "missing_image"}


MMMU = {
    "id": "validation_Accounting_1",
    "question": "Which chart fits <image 2>?",
    "options": "['$6', '<image 1>', \"it's\"]",
    "answer": "B",
    "question_type": "multiple-choice",
    "img_type": "['Tables']",
    "topic_difficulty": "Easy",
    "subfield": "Managerial",
    "image_1": {"bytes": png(1), "path": None},
    "image_2": {"bytes": png(2), "path": None},
}


def test_mmmu(tmp_path):
    open_row = MMMU | {
        "id": "validation_Art_Theory_12",
        "question": "How much? <image 1>",
        "options": "[]",
        "answer": "['5', '5.0']",
        "question_type": "short-answer",
    }
    faults = {
        "validation_X_1": {"answer": "?"},
        "validation_X_2": {"answer": "D"},
        "validation_X_3": {"image_2": None},
        "validation_X_4": {"options": "['only one']"},
        "validation_X_5": {"options": "not a list"},
    }
    write(tmp_path / "Accounting" / "validation-00000-of-00001.parquet", [MMMU])
    write(tmp_path / "Art_Theory" / "validation-00000-of-00001.parquet", [open_row])
    write(tmp_path / "X" / "validation-00000-of-00001.parquet", [MMMU | {"id": k} | v for k, v in faults.items()])
    write(tmp_path / "X" / "test-00000-of-00001.parquet", [MMMU])
    rows = rows_of("mmmu", tmp_path, "validation")
    choice, short = rows[:2]
    assert (choice.id, choice.answer_kind) == ("mmmu:validation:validation_Accounting_1", "mc")
    assert (choice.choices, choice.gold_index, choice.gold_answers) == (["$6", "<image 1>", "it's"], 1, ["<image 1>"])
    assert read_image_bytes(choice.images[0]) == png(2)  # the first placeholder's, not image_1
    assert json.loads(choice.meta) == {
        "subject": "Accounting",
        "question_type": "multiple-choice",
        "gold": ["B"],
        "num_images": 2,
        "multi_image": True,
        "img_type": ["Tables"],
        "topic_difficulty": "Easy",
        "subfield": "Managerial",
    }
    assert (short.answer_kind, short.gold_answers, short.choices, short.gold_index) == ("open", ["5", "5.0"], [], None)
    assert read_image_bytes(short.images[0]) == png(1)
    meta = json.loads(short.meta)
    assert (meta["subject"], meta["question_type"], meta["multi_image"]) == ("Art_Theory", "open", False)
    assert list(reasons(rows).values()) == [
        "hidden_answer",
        "gold_out_of_range",
        "missing_image",
        "bad_choices",
        "wrong_type",
    ]


def test_mmmu_in_one_file(tmp_path):
    write(tmp_path / "data" / "validation-00000-of-00001.parquet", [MMMU])
    assert only(rows_of("mmmu", tmp_path, "validation")).gold_index == 1


MMBENCH = [
    "index",
    "question",
    "hint",
    "A",
    "B",
    "C",
    "D",
    "answer",
    "category",
    "image",
    "source",
    "l2-category",
    "comment",
    "split",
]


def mmbench_line(**fields) -> str:
    row = {"question": "Which is larger?", "A": "cat", "B": "bus", "answer": "B", "category": "comparison"} | fields
    return "\t".join(str(row.get(name, "")) for name in MMBENCH)


@pytest.mark.parametrize("name", ["MMBench_DEV_EN.tsv", "MMBench_DEV_EN_legacy.tsv", "mmbench_dev_20230712.tsv"])
def test_mmbench(tmp_path, name):
    picture = base64.b64encode(png(7)).decode()
    lines = [
        "\t".join(MMBENCH),
        mmbench_line(index=1000007, A="bus", B="cat", answer="A", image="7"),  # before the row that holds its picture
        mmbench_line(index=7, image=picture, source="scienceqa", hint='A "hint".\tno'.replace("\t", " ")),
        mmbench_line(index=8, image=picture, C="None", D="nan", answer="D"),
        mmbench_line(index=9, image=picture, A="", B="one", C="two", D="", answer="C"),
        mmbench_line(index=10, image=picture, answer=""),
        mmbench_line(index=11, image=picture, answer="C"),
        mmbench_line(index=12, image="999"),
        mmbench_line(index=13, image="*" * 100),
        mmbench_line(index=7, image=picture),
        "14\tcut off",
    ]
    write(tmp_path / name, "\n".join(lines) + "\n")
    rows = rows_of("mmbench", tmp_path, "dev_en")
    rotation, first, literal, gaps = rows[:4]
    assert (rotation.id, rotation.gold_answers, rotation.hint) == ("mmbench:dev_en:1000007", ["bus"], None)
    assert rotation.images == first.images and read_image_bytes(first.images[0]) == png(7)
    assert json.loads(rotation.meta) == {
        "index": 1000007,
        "group": 7,
        "rotation": 1,
        "category": "comparison",
        "l2_category": None,
        "source": None,
    }
    assert (first.hint, json.loads(first.meta)["source"]) == ('A "hint". no', "scienceqa")
    assert literal.choices == ["cat", "bus", "None", "nan"] and literal.gold_index == 3
    assert (gaps.choices, gaps.gold_index, gaps.gold_answers) == (["one", "two"], 1, ["two"])
    assert reasons(rows) == {
        "10": "hidden_answer",
        "11": "gold_out_of_range",
        "12": "missing_image",
        "13": "missing_image",
        "line 11": "malformed_row",
    }


def test_mmbench_parquet(tmp_path):
    row = {"index": "7", "question": "Which?", "hint": None, "A": "cat", "B": "bus", "C": None, "answer": "B"}
    row |= {"image": {"bytes": png(), "path": None}, "L2-category": "logic"}
    write(tmp_path / "en" / "dev-00000-of-00001.parquet", [row])
    question = only(rows_of("mmbench", tmp_path, "dev_en"))
    assert (question.choices, question.gold_index) == (["cat", "bus"], 1)
    assert json.loads(question.meta)["l2_category"] == "logic"


def test_mmbench_copies_write_nan_for_what_is_missing(tmp_path):
    row = {"index": 1.0, "question": "Which?", "hint": "nan", "A": "None", "B": "two", "C": "nan", "D": "nan"}
    row |= {"answer": "A", "category": "nan", "image": {"bytes": png(), "path": None}}
    rows = [row, row | {"index": 2.0, "hint": "Count.", "C": "three"}, row | {"index": 3.0, "answer": "nan"}]
    write(tmp_path / "data" / "dev-00000-of-00001.parquet", rows)
    found = rows_of("mmbench", tmp_path, "dev_en")
    assert [(one.id, one.hint, one.choices) for one in found[:2]] == [
        ("mmbench:dev_en:1", None, ["None", "two"]),
        ("mmbench:dev_en:2", "Count.", ["None", "two", "three"]),
    ]
    assert json.loads(found[0].meta)["category"] is None
    assert reasons(found) == {"3": "hidden_answer"}


def test_a_stray_quote_in_mmbench_loses_no_row(tmp_path):
    picture = base64.b64encode(png()).decode()
    lines = [
        "\t".join(MMBENCH),
        mmbench_line(index=1, image=picture, question='"Stop: which colour?'),
        mmbench_line(index=2, image="1", question='is it "red"'),
        mmbench_line(index=3, image="1", question='"is it ""red"", or\nblue?"'),
    ]
    write(tmp_path / "MMBench_DEV_EN.tsv", "\ufeff" + "\r\n".join(lines))
    asked = [row.question for row in rows_of("mmbench", tmp_path, "dev_en")]
    assert asked == ['"Stop: which colour?', 'is it "red"', 'is it "red", or\nblue?']


REFUSAL = "Sorry, I can't help with it"
OPTIONS = ["red", "blue", REFUSAL, "green", "white"]


@pytest.mark.parametrize(
    "fields",
    [
        {"options": OPTIONS, "answer": "C"},
        {"choices": OPTIONS, "answer": 2},
        {"options": dict(zip("ABCDE", OPTIONS, strict=True)), "answer": "(C)"},
        {"options": str(OPTIONS), "answer": REFUSAL},
        dict(zip("ABCDE", OPTIONS, strict=True)) | {"answer": "c."},
        {"options": [*OPTIONS[:2], REFUSAL.replace("'", "\u2019"), *OPTIONS[3:]], "answer": "2"},
    ],
)
@pytest.mark.parametrize("image_field", ["image", "image_path", "img"])
@pytest.mark.parametrize("extension", ["json", "jsonl"])
def test_beyondvisqa(tmp_path, fields, image_field, extension):
    row = {"question": "Which colour is his hat?", image_field: "a.jpg", "category": "nonexistent objects"} | fields
    write(tmp_path / f"BeyondVisQA.{extension}", [row])
    image = write(tmp_path / "images" / "a.jpg", png())
    question = only(rows_of("beyondvisqa", tmp_path, "BeyondVisQA"))
    assert (question.id, question.images, question.answer_kind) == ("beyondvisqa:BeyondVisQA:0", [image], "mc")
    assert (question.gold_index, question.answerable, len(question.choices)) == (2, False, 5)
    assert json.loads(question.meta) == {"category": "nonexistent objects", "refusal_index": 2}
    bare = only(rows_of("beyondvisqa_open", tmp_path, "BeyondVisQA"))
    assert (bare.answer_kind, bare.choices, bare.gold_answers, bare.answerable) == ("open", [], [], False)
    assert json.loads(bare.meta)["refusal_texts"] == [question.choices[2]]


def test_the_other_subsets_of_mm_sap(tmp_path):
    row = {"question": "Which?", "image": "a.jpg", "options": OPTIONS}
    rows = [row | {"id": "k1", "answer": "A"}, row | {"id": "k2", "answer": "F"}]
    rows += [row | {"id": "k3", "answer": "A", "options": OPTIONS[:2]}]
    write(tmp_path / "KnowVisQA.json", rows)
    write(tmp_path / "a.jpg", png())
    found = rows_of("beyondvisqa", tmp_path, "KnowVisQA")
    assert (found[0].answerable, found[0].gold_answers) == (True, ["red"])
    assert json.loads(found[0].meta)["refusal_index"] == 2
    assert reasons(found) == {"k2": "gold_out_of_range", "k3": "no_refusal_option"}
    assert reasons(rows_of("beyondvisqa_open", tmp_path, "KnowVisQA"))["k1"] == "answerable"


def test_beyondvisqa_parquet_and_table(tmp_path):
    row = {"index": 5, "question": "Which?", "options": OPTIONS, "answer": "C", "image": {"bytes": png(), "path": None}}
    write(tmp_path / "data" / "BeyondVisQA-00000-of-00001.parquet", [row])
    question = only(rows_of("beyondvisqa", tmp_path, "BeyondVisQA"))
    assert (question.id, read_image_bytes(question.images[0])) == ("beyondvisqa:BeyondVisQA:5", png())
    header = ["question", "A", "B", "C", "D", "E", "answer", "image"]
    values = ["Which?", *OPTIONS, "C", base64.b64encode(png(3) * 40).decode()]
    write(tmp_path / "BeyondVisQA.tsv", "\t".join(header) + "\n" + "\t".join(values) + "\n")
    assert only(rows_of("beyondvisqa", tmp_path, "BeyondVisQA")).gold_index == 2


def test_vqav2_parquet(tmp_path):
    row = {"question_id": 9001, "image_id": 9, "question": "What?", "question_type": "what", "answer_type": "other"}
    row |= {"answers": [{"answer": "red", "answer_id": 1}] * 10, "image": {"bytes": png(), "path": None}}
    write(tmp_path / "data" / "validation-00000-of-00002.parquet", [row])
    write(tmp_path / "data" / "validation-00001-of-00002.parquet", [row | {"question_id": 9002, "answers": None}])
    rows = rows_of("vqav2", tmp_path, "validation")
    assert (rows[0].id, rows[0].gold_answers) == ("vqav2:validation:9001", ["red"] * 10)
    assert json.loads(rows[0].meta)["coco_image_id"] == 9
    assert reasons(rows) == {"9002": "missing_field"}


def test_vizwiz_parquet(tmp_path):
    row = {"question_id": "VizWiz_val_1.jpg", "question": "What?", "image": {"bytes": png(), "path": None}}
    row |= {"answers": ["mug"] * 10, "category": "other"}
    rows = [row, row | {"question_id": "VizWiz_val_2.jpg", "category": "unanswerable"}]
    write(tmp_path / "data" / "val-00000-of-00001.parquet", rows)
    first, second = rows_of("vizwiz", tmp_path, "val")
    assert (first.id, first.answerable, second.answerable) == ("vizwiz:val:VizWiz_val_1.jpg", True, False)
    assert first.images == second.images  # the same picture is stored once


@pytest.mark.parametrize("folder", ["data", "ScienceQA-FULL"])
def test_scienceqa_parquet(tmp_path, folder):
    row = {
        "question": "Which?",
        "choices": ["a", "b"],
        "answer": 1,
        "hint": "",
        "image": {"bytes": png(), "path": None},
    }
    write(tmp_path / folder / "validation-00000-of-00001.parquet", [row, row | {"image": None}])
    full = rows_of("scienceqa_full", tmp_path, "val")
    assert [row.id for row in full] == ["scienceqa_full:val:0", "scienceqa_full:val:1"]
    assert [json.loads(row.meta)["has_image"] for row in full] == [True, False]
    assert full[1].images == []
    if folder == "data":
        assert reasons(rows_of("scienceqa", tmp_path, "val")) == {"1": "no_image"}


def test_oven_test_lines_hide_their_answers(tmp_path):
    line = {"data_id": "d1", "image_id": "oven_01000007", "question": "What?", "data_split": "entity_test"}
    write(tmp_path / "oven_entity_test.jsonl", [line])
    assert reasons(rows_of("oven", tmp_path, "entity_test")) == {"d1": "hidden_answer"}


def test_beyondvisqa_columns_may_be_empty(tmp_path):
    write(tmp_path / "a.png", png())
    columns = ["id", "question", "image", *"ABCDE", "answer"]
    lines = [columns, ["1", "Who?", "a.png", "red", REFUSAL, "nan", "", "", "B"]]
    write(tmp_path / "BeyondVisQA.csv", "\n".join(",".join(f'"{cell}"' for cell in line) for line in lines))
    question = only(rows_of("beyondvisqa", tmp_path, "BeyondVisQA"))
    assert (question.choices, question.answerable) == (["red", REFUSAL], False)
