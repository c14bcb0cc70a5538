"""Readers of the benchmarks of refusal on small files of our own making in their official form."""

import json

import numpy as np
import pyarrow as pa
import pytest
from corpus_writers import only, png, reasons, rows_of, write
from refusal_benchmark_files import (
    GEO,
    HUMBLEBENCH_ROWS,
    KIE_ROWS,
    MOHOBENCH_ROWS,
    TABLE,
    mmupd_rows,
    mmupd_table,
    write_tubench,
)

from inbol_ray.corpora.breakdown import question_classes, question_group, question_pair
from inbol_ray.errors import DataError
from inbol_ray.images import load_image, read_image_bytes
from inbol_ray.rows import Question


def questions_of(rows) -> dict[str, Question]:
    """By native id; nothing may be rejected."""
    assert all(isinstance(row, Question) for row in rows), rows
    return {row.id.split(":", 2)[2]: row for row in rows}


@pytest.mark.parametrize("kind", ["mmaad", "mmiasd", "mmivqd"])
@pytest.mark.parametrize("folder", ["data", "."])
def test_mmupd_as_it_stands(tmp_path, kind, folder):
    write(tmp_path / folder / f"{kind}_20240303_base.tsv", mmupd_table(*mmupd_rows(kind, "base")))
    write(tmp_path / folder / f"{kind}_standard_20240303_base.tsv", "not read")
    found = questions_of(rows_of(f"{kind}_base", tmp_path, "test"))
    assert list(found) == [f"{type_}-{n}" for n in (7, 1_000_007, 8) for type_ in ("standard", "upd")]
    solvable, twin = found["standard-7"], found["upd-7"]
    assert (solvable.choices, solvable.gold_index, solvable.answerable) == (["cat", "bus"], 1, True)
    assert (solvable.gold_answers, solvable.hint) == (["bus"], None)
    assert (twin.choices, twin.gold_index, twin.answerable, twin.gold_answers) == (["hen", "egg"], None, False, [])
    assert read_image_bytes(twin.images[0]) == png(13)
    meta = json.loads(twin.meta)
    assert meta.get("masked_answer") == (None if kind == "mmivqd" else "bus")
    assert "refusal_index" not in meta and "refusal_letter" not in meta
    assert question_group(found["upd-1000007"]) == twin.id != question_group(solvable) == solvable.id
    assert {question_pair(found[name]) for name in list(found)[:4]} == {f"{kind}_base:test:7"}
    assert question_classes(twin) == {"category": "attribute_comparison", "l2_category": "relation"}
    offered = questions_of(rows_of(f"{kind}_instruction", tmp_path, "test"))
    assert json.loads(offered["standard-7"].meta)["refusal_letter"] == "F"
    with pytest.raises(DataError, match=f"{kind}_\\[0-9\\]\\*_option.tsv"):
        rows_of(f"{kind}_option", tmp_path, "test")


@pytest.mark.parametrize("kind", ["mmaad", "mmiasd", "mmivqd"])
def test_mmupd_with_an_option_that_refuses(tmp_path, kind):
    write(tmp_path / "data" / f"{kind}_20240303_option.tsv", mmupd_table(*mmupd_rows(kind, "option")))
    found = questions_of(rows_of(f"{kind}_option", tmp_path, "test"))
    assert (found["standard-7"].gold_index, found["upd-7"].gold_index) == (1, 2)
    assert found["upd-7"].gold_answers == found["upd-7"].choices[2:]
    assert {json.loads(question.meta)["refusal_index"] for question in found.values()} == {2}


def test_bad_rows_of_mmupd(tmp_path):
    upd = {"type": "upd", "answer": "F"}
    rows = [
        {"index": 1, "type": "aad"},
        {"index": 2, "answer": "C"},
        {"index": 3} | upd | {"answer": "A"},
        {"index": 4, "B": "nan"},
        {"index": 5, "question": ""},
        {"index": 6, "image": ""},
        {"index": 7, "C": "None", "D": "red", "answer": "D", "hint": "nan"},
        {"index": "x"},
    ]
    write(tmp_path / "mmaad_20240303_base.tsv", mmupd_table(*rows))
    found = rows_of("mmaad_base", tmp_path, "test")
    assert reasons(found) == {
        "aad-1": "unknown_type",
        "standard-2": "gold_out_of_range",
        "upd-3": "gold_out_of_range",
        "standard-4": "bad_choices",
        "standard-5": "empty_question",
        "standard-6": "missing_image",
        "standard-x": "wrong_type",
    }
    (good,) = [row for row in found if isinstance(row, Question)]
    assert (good.choices, good.gold_index, good.hint) == (["cat", "bus", "red"], 2, None)
    write(
        tmp_path / "mmaad_20240303_option.tsv", mmupd_table({"index": 1}, {"index": 2, "C": "None of the above"} | upd)
    )
    assert reasons(rows_of("mmaad_option", tmp_path, "test")) == {
        "standard-1": "no_refusal_option",
        "upd-2": "gold_out_of_range",
    }
    with pytest.raises(DataError, match="found split 'dev' of mmaad_base .*expected test"):
        rows_of("mmaad_base", tmp_path, "dev")


def test_humblebench_and_its_stress_tests(tmp_path):
    write(tmp_path / "train-00000-of-00001.parquet", HUMBLEBENCH_ROWS)
    found = questions_of(rows_of("humblebench", tmp_path, "train"))
    first, second = found["1"], found["2"]
    assert (first.question, first.choices) == ("What is it?", ["cat", "bus", "hen", "egg", "None of the above"])
    assert (first.gold_index, first.answerable, first.gold_answers) == (1, True, ["bus"])
    assert (second.gold_index, second.answerable, second.choices[-1]) == (4, False, "None of above")
    assert read_image_bytes(first.images[0]) == png(14)
    assert json.loads(first.meta) == {"type": "Object", "refusal_index": 4}
    assert question_classes(second) == {"type": "Relation"}
    none_right = questions_of(rows_of("humblebench_e", tmp_path, "train"))
    assert none_right["1"].choices == ["cat", "hen", "egg", "None of the above"]
    assert (none_right["1"].gold_index, none_right["1"].answerable) == (3, False)
    assert json.loads(none_right["1"].meta)["refusal_index"] == 3
    assert none_right["2"].choices == second.choices
    noise = questions_of(rows_of("humblebench_gn", tmp_path, "train"))
    assert [(row.choices, row.gold_index, row.answerable) for row in noise.values()] == [
        (row.choices, 4, False) for row in found.values()
    ]
    assert noise["1"].images == noise["2"].images != first.images
    image = load_image(noise["1"].images[0])
    assert image.size == (256, 256) and len(np.unique(np.asarray(image))) > 200


@pytest.mark.parametrize("name", ["metadata.jsonl", "train/metadata.jsonl", "metadata.csv"])
def test_humblebench_as_an_image_folder(tmp_path, name):
    row = {key: value for key, value in HUMBLEBENCH_ROWS[0].items() if key != "image"} | {"file_name": "images/1.jpg"}
    if name.endswith("csv"):
        text = ",".join(row) + "\n" + ",".join(f'"{value}"' for value in row.values()) + "\n"
    else:
        text = json.dumps(row) + "\n"
    folder = (tmp_path / name).parent
    write(tmp_path / name, text)
    image = write(folder / "images" / "1.jpg", png())
    question = only(rows_of("humblebench", tmp_path, "train"))
    assert (question.images, question.gold_index, len(question.choices)) == ([image], 1, 5)


def test_bad_rows_of_humblebench(tmp_path):
    good = HUMBLEBENCH_ROWS[0]
    text = good["question"]
    faults = {
        "10": {"question": "What is it?"},
        "11": {"question": text.replace("\nC.hen", "")},
        "12": {"question": text + "\nChoose."},
        "13": {"question": text.replace("None of the above", "All of them")},
        "14": {"question": text.replace("C.hen", "C.")},
        "15": {"label": "F"},
        "16": {"label": None},
        "17": {"image": None},
    }
    rows = [good | {"question_id": int(number)} | fault for number, fault in faults.items()]
    write(tmp_path / "train-00000-of-00001.parquet", rows)
    assert reasons(rows_of("humblebench", tmp_path, "train")) == {
        "10": "bad_choices",
        "11": "bad_choices",
        "12": "bad_choices",
        "13": "no_refusal_option",
        "14": "bad_choices",
        "15": "gold_out_of_range",
        "16": "missing_field",
        "17": "missing_image",
    }
    with pytest.raises(DataError, match="expected train"):
        rows_of("humblebench", tmp_path, "test")


@pytest.mark.parametrize("name", ["data/mohobench.json", "mohobench.json", "lines"])
def test_mohobench(tmp_path, name):
    rows = [MOHOBENCH_ROWS[0], MOHOBENCH_ROWS[1] | {"id": "m2"}]
    if name == "lines":
        write(tmp_path / "mohobench.json", "\n" + "".join(json.dumps(row) + "\n" for row in rows))
    else:
        write(tmp_path / name, rows)
    image = write(tmp_path / "images" / "m.jpg", png())
    found = questions_of(rows_of("mohobench", tmp_path, "test"))
    assert list(found) == ["0", "m2"]
    question = found["0"]
    assert (question.answer_kind, question.answerable, question.images) == ("open", False, [image])
    assert json.loads(question.meta) == {"category": "False_Premises", "reason": "It is dry."}
    assert question_classes(found["m2"]) == {"category": "Context_Dependent"}


def test_mohobench_as_arrow_files(tmp_path):
    rows = [row | {"image": {"bytes": png(3), "path": None}} for row in MOHOBENCH_ROWS]
    table = pa.Table.from_pylist(rows)
    for number in range(2):
        with pa.ipc.new_stream(str(tmp_path / f"data-0000{number}-of-00002.arrow"), table.schema) as stream:
            stream.write_table(table.slice(number, 1))
    found = questions_of(rows_of("mohobench", tmp_path, "test"))
    assert [row.question for row in found.values()] == [row["question"] for row in rows]
    assert read_image_bytes(found["1"].images[0]) == png(3)
    write(tmp_path / "data-00001-of-00002.arrow", b"cut off")
    with pytest.raises(DataError, match="not a readable Arrow file"):
        rows_of("mohobench", tmp_path, "test")


def test_bad_rows_of_mohobench(tmp_path):
    good = MOHOBENCH_ROWS[0]
    rows = [
        good | {"category": "Other"},
        {key: value for key, value in good.items() if key != "category"},
        good | {"image_path": "gone.jpg"},
        good | {"question": " "},
        "text",
    ]
    write(tmp_path / "mohobench.json", rows)
    write(tmp_path / "m.jpg", png())
    expected = ["unknown_category", "missing_field", "missing_image", "empty_question", "wrong_type"]
    assert list(reasons(rows_of("mohobench", tmp_path, "test")).values()) == expected
    with pytest.raises(DataError, match="expected test"):
        rows_of("mohobench", tmp_path, "val")


@pytest.mark.parametrize("below", ["", "UCR"])
def test_tubench_ucr(tmp_path, below):
    write_tubench(tmp_path)
    write(tmp_path / "UCR" / "1" / "1_negate_flip.txt", "Does it not print 1?\tNo\n")
    found = questions_of(rows_of("tubench_ucr", tmp_path / below, "test"))
    assert list(found) == ["1/1/1", "1/1/2", "1/1_u1/1", "1/1_u1/2"]
    assert [(row.answer_kind, row.answerable, row.gold_answers) for row in found.values()] == [
        ("open", True, ["Yes"]),
        ("open", True, ["No"]),
        ("open", False, []),
        ("open", True, ["No"]),
    ]
    assert found["1/1_u1/1"].images == [str(tmp_path / "UCR" / "1" / "1_u1.png")]
    assert [question_classes(row)["strategy"] for row in found.values()] == ["original"] * 2 + ["S5"] * 2
    assert json.loads(found["1/1/1"].meta)["refusal_texts"] == ["Unanswerable"]


def test_tubench_uvqa(tmp_path):
    write_tubench(tmp_path)
    found = questions_of(rows_of("tubench_uvqa", tmp_path, "test"))
    assert [(name, row.question, row.answerable) for name, row in found.items()] == [
        ("0/1", "Is he tall?", True),
        ("0/2", "Is he rich?", False),
    ]
    assert [question_classes(row) for row in found.values()] == [{}, {"strategy": "S3"}]
    assert found["0/1"].images == [str(tmp_path / "UVQA" / "0" / "COCO_val2014_000000000001.jpg")]


def test_tubench_ugeoqa_and_utabmwp_ask_twice(tmp_path):
    write_tubench(tmp_path)
    found = questions_of(rows_of("tubench_ugeoqa", tmp_path, "test"))
    asked, unanswerable = found["3"], found["3-Unanswerable"]
    assert (asked.question, asked.answerable, asked.gold_index) == ("AB is 2, BC is 3. Then AC is ?", True, 1)
    assert (unanswerable.question, unanswerable.answerable) == ("AB is 2. Then AC is ?", False)
    assert (unanswerable.choices, unanswerable.gold_index) == (GEO["choices"], None)
    assert asked.images == unanswerable.images
    assert question_classes(unanswerable) == {"strategy": "S8"}
    found = questions_of(rows_of("tubench_utabmwp", tmp_path, "test"))
    asked, hidden = found["5"], found["5-Unanswerable"]
    assert asked.question == hidden.question == TABLE["question"]
    assert (asked.gold_index, asked.gold_answers, hidden.gold_index) == (1, ["milk"], None)
    assert [row.images[0].rpartition("/")[2] for row in (asked, hidden)] == ["5.png", "5_u1.png"]


def test_bad_rows_of_tubench(tmp_path):
    write(tmp_path / "UCR" / "1" / "1.txt", "No label\nWho?\tMaybe\n\tYes\nWho?\tYes\n")
    write(tmp_path / "UCR" / "1" / "notes.txt", "Who?\tYes\n")
    write(tmp_path / "UCR" / "1" / "1_u2.png", png())
    found = rows_of("tubench_ucr", tmp_path, "test")
    assert reasons(found) == {
        "1/1.txt, line 1": "malformed_row",
        "1/1/2": "unknown_label",
        "1/1.txt, line 3": "malformed_row",
        "1/1/4": "missing_image",
        "1/notes.txt, line 1": "malformed_row",
    }
    assert sum("none of {k}.txt" in row.detail for row in found) == 1
    write(tmp_path / "UVQA" / "0" / "vqa.txt", "1\tWho?\tYes\nWho?\tYes\n")
    assert list(reasons(rows_of("tubench_uvqa", tmp_path, "test")).values()) == ["missing_image", "malformed_row"]
    for number, content in enumerate(
        ["{", "[]", GEO | {"label": 4}, GEO | {"choices": ["1"]}, GEO | {"subject": None}]
    ):
        write(tmp_path / "UGeoQA" / str(number) / f"{number}.json", content)
        write(tmp_path / "UGeoQA" / str(number) / f"{number}.png", png())
    found = rows_of("tubench_ugeoqa", tmp_path, "test")
    assert [row.reason for row in found if not isinstance(row, Question)] == [
        *["malformed_row"] * 2,
        *["wrong_type"] * 2,
        "gold_out_of_range",
        *["bad_choices"] * 2,
        "missing_field",
    ]
    write(tmp_path / "UTabMWP" / "5" / "5.json", TABLE | {"answer": "tea and milk"})
    write(tmp_path / "UTabMWP" / "5" / "5.png", png())
    assert reasons(rows_of("tubench_utabmwp", tmp_path, "test")) == {
        "5": "gold_out_of_range",
        "5-Unanswerable": "missing_image",
    }


@pytest.mark.parametrize("folder", ["images", "data"])
def test_kie_hvqa(tmp_path, folder):
    write(tmp_path / "kie_hocr.jsonl", KIE_ROWS)
    image = write(tmp_path / folder / "k.png", png())
    found = questions_of(rows_of("kie_hvqa", tmp_path, "test"))
    legible, illegible = found["k1"], found["k2"]
    assert (legible.question, legible.answer_kind, legible.images) == ("Read the date.", "open", [image])
    assert (legible.answerable, illegible.answerable) == (True, False)
    assert legible.gold_answers == [KIE_ROWS[0]["answer"]]


def test_bad_rows_of_kie_hvqa(tmp_path):
    good = KIE_ROWS[0]
    faults = [
        {"problem": "<image> "},
        {"answer": "{broken"},
        {"answer": '{"Final OCR": "1"}'},
        {"answer": '{"clear char-level OCR": 1, "not clear enough char-level OCR": "", "final OCR": ""}'},
        {"image": "./images/gone.png"},
        {"image": "../k.png"},
        {"answer": None},
    ]
    write(tmp_path / "kie_hocr.jsonl", [good | {"id": n} | fault for n, fault in enumerate(faults)])
    write(tmp_path / "data" / "k.png", png())
    assert list(reasons(rows_of("kie_hvqa", tmp_path, "test")).values()) == [
        "empty_question",
        *["malformed_answer"] * 3,
        "missing_image",
        "image_outside_root",
        "missing_field",
    ]
