"""Every benchmark, small, written in its official format: what the tests of evaluation run on."""

import base64
import json
from pathlib import Path

from corpus_writers import png, write

from inbol_ray.corpora.breakdown import HUMBLEBENCH, MMUPD, TUBENCH

TEN = [{"answer_id": k, "answer": "red", "answer_confidence": "yes"} for k in range(1, 11)]
UNANSWERABLE = [{"answer": "unanswerable", "answer_confidence": "yes"}] * 10
REFUSAL = "Sorry, I can't help with it"

SPLITS = {
    "vqav2": "val2014",
    "scienceqa": "test",
    "scienceqa_full": "test",
    "oven": "entity_val",
    "aokvqa": "val",
    "aokvqa_direct": "val",
    "gqa": "testdev_balanced",
    "mmmu": "validation",
    "mmbench": "dev_en",
    "beyondvisqa": "BeyondVisQA",
    "beyondvisqa_open": "BeyondVisQA",
    "vizwiz": "val",
    "vqav2_idk": "val",
    "vqav2_idk_filtered": "val",
    **dict.fromkeys(MMUPD, "test"),
    **dict.fromkeys(HUMBLEBENCH, "train"),
    "mohobench": "test",
    **dict.fromkeys(TUBENCH, "test"),
    "kie_hvqa": "test",
    "own": "test",
}
"""Dataset -> split of the small corpus that `write_benchmarks` makes."""


REFUSAL_BENCHMARKS = (*MMUPD, *HUMBLEBENCH, "mohobench", *TUBENCH, "kie_hvqa")
"""Those of `evaluation.refusal_tables`."""


def write_benchmarks(root: Path) -> list[dict]:
    """Write every corpus below `root` and return the `evaluation.benchmarks` of a configuration."""
    for dataset in SPLITS:
        _WRITERS[dataset](root / dataset)
    return [
        {"dataset": dataset, "split": split, "root": str(root / dataset), "domain": _domain(dataset)}
        for dataset, split in SPLITS.items()
    ]


def _domain(dataset: str) -> str:
    return "in_domain" if dataset in ("vqav2", "scienceqa", "oven") else "out_of_domain"


def _write_vqav2(root: Path) -> None:
    ids = range(9001, 9004)
    questions = [{"image_id": 9, "question_id": k, "question": f"What color is {k}?"} for k in ids]
    annotations = [
        {"question_id": k, "image_id": 9, "question_type": "what color", "answer_type": "other", "answers": TEN}
        for k in ids
    ]
    write(root / "v2_OpenEnded_mscoco_val2014_questions.json", {"questions": questions})
    write(root / "v2_mscoco_val2014_annotations.json", {"annotations": annotations})
    write(root / "val2014" / "COCO_val2014_000000000009.jpg", png(1))


def _write_scienceqa(root: Path) -> None:
    problem = {"question": "Which one is a solid?", "choices": ["rock", "air"], "answer": 0, "split": "test"}
    problem |= {"subject": "natural science", "grade": "grade3"}
    problems = {
        "1": problem | {"hint": "Solids keep their shape.", "image": "image.png"},
        "2": problem | {"hint": "", "image": "image.png"},
        "3": problem | {"hint": "", "image": None},
    }
    write(root / "problems.json", problems)
    write(root / "pid_splits.json", {"test": list(problems)})
    for pid in ("1", "2"):
        write(root / "images" / "test" / pid / "image.png", png(2))


def _write_oven(root: Path) -> None:
    line = {"image_id": "oven_01000007", "entity_id": "Q42"}
    lines = [
        line
        | {
            "data_id": f"{split}_{n}",
            "question": f"which aircraft is {n}?",
            "entity_text": "Cessna 172 (aircraft)",
            "data_split": split,
        }
        for n, split in enumerate(["entity_val_seen", "entity_val_unseen"])
    ]
    write(root / "oven_entity_val.jsonl", lines)
    write(root / "01" / "oven_01000007.jpg", png(3))


def _write_aokvqa(root: Path) -> None:
    item = {
        "image_id": 42,
        "question": "What is he awaiting?",
        "choices": ["bus", "cab", "dog", "cat"],
        "correct_choice_idx": 1,
        "direct_answers": ["cab"] * 4 + ["taxi"] * 6,
        "difficult_direct_answer": False,
    }
    hard = item | {"question_id": "c", "difficult_direct_answer": True}
    write(
        root / "aokvqa_v1p0_val.json",
        [item | {"question_id": "a"}, item | {"question_id": "b", "question": "For what?"}, hard],
    )
    write(root / "val2017" / "000000000042.jpg", png(4))


def _write_gqa(root: Path) -> None:
    item = {"question": "Is it red?", "imageId": "n77", "answer": "no", "isBalanced": True}
    types = [{"structural": "verify", "semantic": "attr"}, {"structural": "query", "semantic": "obj"}]
    rows = {f"0{n}": item | {"types": one, "question": f"Is it red {n}?"} for n, one in enumerate(types)}
    write(root / "testdev_balanced_questions.json", rows)
    write(root / "images" / "n77.jpg", png(5))


def _write_mmmu(root: Path) -> None:
    item = {
        "question": "Which is it? <image 1>",
        "options": "['$6', '$7', '<image 2>']",
        "answer": "B",
        "question_type": "multiple-choice",
        "img_type": "['Tables']",
        "topic_difficulty": "Easy",
        "subfield": "Managerial",
        "explanation": "",
        "image_1": {"bytes": png(6), "path": None},
        "image_2": {"bytes": png(7), "path": None},
    }
    short = {"question": "How much? <image 1>", "options": "[]", "answer": "['5', '5.0']", "question_type": "open"}
    rows = [item | {"id": "validation_Accounting_1"}, item | {"id": "validation_Accounting_2"} | short]
    write(root / "Accounting" / "validation-00000-of-00001.parquet", rows)


def _write_mmbench(root: Path) -> None:
    columns = ["index", "question", "hint", "A", "B", "C", "answer", "category", "image", "l2-category", "source"]
    picture = base64.b64encode(png(8) * 2).decode()
    shared = {"question": "Which is larger?", "category": "comparison", "l2-category": "relation"}
    rows = [
        {"index": 7, "A": "cat", "B": "bus", "answer": "B", "image": picture},
        {"index": 1_000_007, "A": "bus", "B": "cat", "answer": "A", "image": "7"},
        {"index": 8, "A": "hen", "B": "bus", "C": "egg", "answer": "B", "image": picture, "hint": "Look well."},
    ]
    lines = ["\t".join(columns)] + ["\t".join(str((shared | row).get(name, "")) for name in columns) for row in rows]
    write(root / "MMBench_DEV_EN.tsv", "\n".join(lines) + "\n")


def _write_beyondvisqa(root: Path) -> None:
    item = {"question": "What will he do next?", "image": "a.jpg", "category": "temporal unpredictability"}
    options = ["run", REFUSAL, "sit", "sleep", "sing"]
    item |= {"options": options, "answer": "B"}
    write(root / "BeyondVisQA.json", [item, item | {"question": "Who called him?"}])
    write(root / "images" / "a.jpg", png(9))


def _write_vizwiz(root: Path) -> None:
    item = {"question": "What is this?"}
    rows = [
        item | {"image": "VizWiz_val_00000001.jpg", "answers": TEN, "answer_type": "other", "answerable": 1},
        item | {"image": "VizWiz_val_00000002.jpg", "answers": UNANSWERABLE, "answerable": 0},
    ]
    write(root / "val.json", rows)
    for row in rows:
        write(root / "val" / row["image"], png(10))


def _write_vqav2_idk(root: Path) -> None:
    item = {"image": "val2014/COCO_val2014_000000000011.jpg", "question": "What brand is it?"}
    rows = [
        item | {"question_id": "1", "answer": ["unknown"] * 3 + ["nike"] * 6, "keywords": ["unknown"] * 3},
        item
        | {"question_id": "2", "question": "What make is it?", "answer": ["none"] + ["nike"] * 8, "keywords": ["none"]},
    ]
    write(root / "data" / "VQAv2-IDK-val.json", rows)
    write(root / "val2014" / "COCO_val2014_000000000011.jpg", png(11))


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


def _write_own(root: Path) -> None:
    rows = [
        {"id": 1, "question": "What is on the desk?", "image": "desk.png", "answers": ["a lamp", "lamp"]},
        {"id": 2, "question": "Which is larger?", "image": "desk.png", "choices": ["cat", "bus"], "answer": "B"},
        {"id": 3, "question": "What did he say before?", "image": "desk.png", "answerable": False},
    ]
    write(root / "test.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    write(root / "desk.png", png(12))


_WRITERS = {
    "vqav2": _write_vqav2,
    "scienceqa": _write_scienceqa,
    "scienceqa_full": _write_scienceqa,
    "oven": _write_oven,
    "aokvqa": _write_aokvqa,
    "aokvqa_direct": _write_aokvqa,
    "gqa": _write_gqa,
    "mmmu": _write_mmmu,
    "mmbench": _write_mmbench,
    "beyondvisqa": _write_beyondvisqa,
    "beyondvisqa_open": _write_beyondvisqa,
    "vizwiz": _write_vizwiz,
    "vqav2_idk": _write_vqav2_idk,
    "vqav2_idk_filtered": _write_vqav2_idk,
    **dict.fromkeys(MMUPD, _write_mmupd),
    **dict.fromkeys(HUMBLEBENCH, _write_humblebench),
    "mohobench": _write_mohobench,
    **dict.fromkeys(TUBENCH, write_tubench),
    "kie_hvqa": _write_kie_hvqa,
    "own": _write_own,
}
