"""Every benchmark, small, written in its official format: what the tests of evaluation run on."""

import base64
import json
from pathlib import Path

from corpus_writers import png, write
from refusal_benchmark_files import REFUSAL_SPLITS, REFUSAL_WRITERS

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
    **REFUSAL_SPLITS,
    "own": "test",
}
"""Dataset -> split of the small corpus that `write_benchmarks` makes."""


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
    **REFUSAL_WRITERS,
    "own": _write_own,
}
