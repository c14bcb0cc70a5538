"""The benchmarks of refusal, small and of our own making, in their official form: rows, and writers of whole
corpora."""

import base64
import json
from pathlib import Path

from corpus_writers import png, write

from inbol_ray.corpora.breakdown import HUMBLEBENCH, MMUPD, TUBENCH

REFUSAL_SPLITS = {
    **dict.fromkeys(MMUPD, "test"),
    **dict.fromkeys(HUMBLEBENCH, "train"),
    "mohobench": "test",
    **dict.fromkeys(TUBENCH, "test"),
    "kie_hvqa": "test",
}
"""Dataset -> split."""

MMUPD_COLUMNS = [
    "index",
    "hint",
    "question",
    "A",
    "B",
    "C",
    "D",
    "E",
    "answer",
    "masked_answer",
    "category",
    "image",
    "source",
    "l2-category",
    "split",
    "type",
]
MMUPD_REFUSALS = {"mmivqd": "The image and question are irrelevant."}


def mmupd_table(*rows: dict) -> str:
    """MM-UPD's TSV: a row holds what differs from a solvable question between a cat and a bus."""
    shared = {
        "question": "Which is larger?",
        "A": "cat",
        "B": "bus",
        "answer": "B",
        "type": "standard",
        "split": "test",
    }
    shared |= {
        "category": "attribute_comparison",
        "l2-category": "relation",
        "image": base64.b64encode(png(13)).decode(),
    }
    lines = ["\t".join(MMUPD_COLUMNS)]
    lines += ["\t".join(str((shared | row).get(name, "")) for name in MMUPD_COLUMNS) for row in rows]
    return "\n".join(lines) + "\n"


def mmupd_rows(kind: str, setting: str) -> list[dict]:
    """Two solvable questions, one of them with a rotation, and their unsolvable twins."""
    pairs = [
        ({"index": 7}, {"index": 7}),
        ({"index": 1_000_007, "A": "bus", "B": "cat", "answer": "A"}, {"index": 1_000_007, "A": "egg", "B": "hen"}),
        ({"index": 8, "question": "Which is red?"}, {"index": 8, "question": "Which is red?"}),
    ]
    rows = []
    for standard, upd in pairs:
        unsolvable = {"A": "hen", "B": "egg", "answer": "F", "type": "upd"} | upd
        rows += [standard, unsolvable | ({} if kind == "mmivqd" else {"masked_answer": "bus"})]
    if setting == "option":
        rows = [row | {"C": MMUPD_REFUSALS.get(kind, "None of the above")} for row in rows]
        rows = [row | {"answer": "C"} if row.get("type") == "upd" else row for row in rows]
    return rows


def _write_mmupd(root: Path) -> None:
    kind, setting = root.name.split("_")
    file = "option" if setting == "option" else "base"
    write(root / "data" / f"{kind}_20240303_{file}.tsv", mmupd_table(*mmupd_rows(kind, setting)))


HUMBLEBENCH_ROWS = [
    {"question_id": 1, "question": "What is it?\nA. cat\nB. bus\nC.hen\nD. egg\nE. None of the above", "label": "B"},
    {"question_id": 2, "question": "Where?\nA. on\nB. None\nC. by\nD. in\nE.None of above", "label": "E"},
]
HUMBLEBENCH_ROWS = [
    row | {"type": kind, "image": {"bytes": png(14), "path": None}}
    for row, kind in zip(HUMBLEBENCH_ROWS, ("Object", "Relation"), strict=True)
]


def _write_humblebench(root: Path) -> None:
    write(root / "train-00000-of-00001.parquet", HUMBLEBENCH_ROWS)


MOHOBENCH_ROWS = [
    {"question": "Why is it raining?", "category": "False_Premises", "reason": "It is dry.", "image_path": "m.jpg"},
    {"question": "What comes next?", "category": "Context_Dependent", "reason": "Not shown.", "image_path": "m.jpg"},
]


def _write_mohobench(root: Path) -> None:
    write(root / "data" / "mohobench.json", MOHOBENCH_ROWS)
    write(root / "images" / "m.jpg", png(15))


GEO = {"id": 3, "subject": "AB is 2, BC is 3. Then AC is ()", "unanswerable_subject": "AB is 2. Then AC is ()"}
GEO |= {"choices": ["1cm", "5cm", "6cm", "7cm"], "label": 1}
TABLE = {"question": "Which costs less?", "choices": ["tea", "milk"], "answer": "milk"}


def write_tubench(root: Path) -> None:
    """All four sets below any root, as after unpacking the zips into one folder."""
    write(root / "UCR" / "1" / "1.txt", "Does it print 1?\tYes\nDoes it end?\tNo\n")
    write(root / "UCR" / "1" / "1_u1.txt", "Does it print 1?\tUnanswerable\nDoes it end?\tNo\n")
    for name in ("1", "1_u1"):
        write(root / "UCR" / "1" / f"{name}.png", png(16))
    write(root / "UVQA" / "0" / "vqa.txt", "1\tIs he tall?\tYes\n2\tIs he rich?\tUnanswerable\t3\n")
    write(root / "UVQA" / "0" / "COCO_val2014_000000000001.jpg", png(17))
    write(root / "UGeoQA" / "3" / "3.json", GEO)
    write(root / "UGeoQA" / "3" / "3.png", png(18))
    write(root / "UTabMWP" / "5" / "5.json", TABLE)
    for name in ("5", "5_u1"):
        write(root / "UTabMWP" / "5" / f"{name}.png", png(19))


def ocr_object(clear: str, not_clear: str, final: str) -> str:
    """What KIE-HVQA asks for, and its truth."""
    parts = {"clear Char-level OCR": clear, "not clear enough Char-level OCR": not_clear, "Final OCR": final}
    return json.dumps(parts | {"clear number": len(clear.split())})


KIE_ROWS = [
    {
        "id": "k1",
        "problem": "<image>Read the date.",
        "answer": ocr_object("1 9", "7", "197"),
        "image": "./images/k.png",
    },
    {"id": "k2", "problem": "<image>Read the name.", "answer": ocr_object("", "", ""), "image": "./images/k.png"},
]


def _write_kie_hvqa(root: Path) -> None:
    write(root / "kie_hocr.jsonl", KIE_ROWS)
    write(root / "data" / "k.png", png(20))


REFUSAL_WRITERS = {
    **dict.fromkeys(MMUPD, _write_mmupd),
    **dict.fromkeys(HUMBLEBENCH, _write_humblebench),
    "mohobench": _write_mohobench,
    **dict.fromkeys(TUBENCH, write_tubench),
    "kie_hvqa": _write_kie_hvqa,
}
"""Dataset -> what writes it below a root."""
