"""The small input of the golden outputs. Whoever changes it raises the number `input` of the cases that read it."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from inbol_ray.corpora.stage import BENCHMARK_QUESTION
from inbol_ray.rows import PREDICTION, QUESTION, SAMPLED_ANSWERS

COLOURS = ("red", "green", "blue", "pink", "grey", "black")


def question(number: int, dataset: str, kind: str, **changes) -> dict:
    values = {
        "id": f"{dataset}:train:{number}",
        "dataset": dataset,
        "split": "train",
        "images": [f"image{number % 4}.png"],
        "question": f"What colour is thing {number}?",
        "answer_kind": kind,
        "gold_answers": [COLOURS[number % len(COLOURS)]] * (10 if kind == "vqa10" else 1),
        "choices": [],
        "gold_index": None,
        "hint": None,
        "answerable": None,
        "meta": "{}",
    }
    return values | changes


CHOICES = {"choices": ["red", "green", "blue"], "gold_answers": [], "hint": "Look at it.", "answerable": True}
IDK_META = '{"num_idk_answers": 7, "num_answers": 10}'
QUESTIONS = [
    *(question(number, "vqav2", "vqa10") for number in range(6)),
    question(6, "scienceqa", "mc", gold_index=1, **CHOICES),
    question(7, "scienceqa", "mc", gold_index=2, **CHOICES | {"hint": None}),
    question(8, "oven", "entity", gold_answers=["Boeing 747", "747"]),
    question(9, "vqav2_idk", "vqa10", gold_answers=["unanswerable"] * 10, answerable=False, meta=IDK_META),
]
"""QUESTION rows."""
REPLIES = {
    0: ["red", "Red.", "It is red.", "a red one"],
    1: ["green", "blue", "green", "I don't know."],
    2: ["red", "pink", "I cannot answer this question.", ""],
    3: ["pink", "Pink", "It might be pink, but I am not sure.", "black"],
    4: ["gray", "grey", "white", "grey and black"],
    5: ["There is no thing 5.", "black", "not black", "Sorry, I can't answer that."],
    6: ["B", "B. green", "The answer is (B).", "A or B"],
    7: ["A", "green", "C", "None of them."],
    8: ["747", "It is a Boeing 747.", "an Airbus", "unanswerable"],
    9: ["unanswerable", "I don't know.", "red", "It cannot be determined from the image."],
}
"""Replies to each question by its number, as its model might draw them."""


def number_of(row_id: str) -> int:
    """Of an id of `question`, or of what was made of one."""
    return int("".join(letter for letter in row_id.split("+")[0] if letter.isdigit())[-1])


def benchmark_rows() -> list[dict]:
    """BENCHMARK_QUESTION rows of QUESTIONS."""
    return [
        row | {"benchmark": row["dataset"], "domain": "in_domain" if row["dataset"] != "oven" else "out_of_domain"}
        for row in QUESTIONS
    ]


def sampled_rows() -> list[dict]:
    """SAMPLED_ANSWERS rows of every class and of its bounds, by id."""
    rows = []
    for number, row in enumerate(sorted(QUESTIONS, key=lambda row: row["id"])):
        confidence, num_correct = ((0.7, 3), (0.5, 2), (0.3, 1), (1.0, 4), (0.0, 0))[number % 5]
        outcomes = ["correct"] * num_correct + ["wrong", "refused", "wrong", "error"][: 4 - num_correct]
        rows.append(
            row
            | {
                "responses": REPLIES[number_of(row["id"])],
                "outcomes": outcomes,
                "scores": [float(kind == "correct") for kind in outcomes],
                "token_logprobs": [[-0.1]] * 4,
                "confidence": confidence,
                "self_consistency": 0.5,
                "likelihood": 0.25,
                "checkpoint": "model",
            }
        )
    return rows


def prediction_rows() -> list[dict]:
    """PREDICTION rows: a reply of two methods to each question."""
    rows = []
    for place, method in enumerate(("original", "sft")):
        for row in benchmark_rows():
            reply = REPLIES[number_of(row["id"])][place]
            outcome = "refused" if "know" in reply or reply == "unanswerable" else ("correct", "wrong")[place]
            rows.append(
                {name: row.get(name) for name in PREDICTION.names}
                | {"method": method, "seed": 0, "response": reply, "outcome": outcome, "unparsed": False}
                | {"score": float(outcome == "correct"), "answerable": row["answerable"] is not False}
            )
    return rows


def signal_rows() -> list[dict]:
    """SIGNAL rows of two methods, the surer of which are right more often."""
    rng = np.random.default_rng(0)
    rows = []
    for part, method, count in (
        ("calibration", "ca_dpo", 400),
        ("test", "ca_dpo", 60),
        ("test", "original", 60),
    ):
        for number in range(count):
            confidence = float(rng.integers(1, 100)) / 100
            rows.append(
                {
                    "id": f"{part}:{number}",
                    "part": part,
                    "domain": ("in_domain", "out_of_domain")[number % 4 == 3],
                    "dataset": ("vqav2", "scienceqa")[number % 2],
                    "answer_kind": ("vqa10", "mc")[number % 2],
                    "num_images": 1,
                    "method": method,
                    "checkpoint_digest": "sha256:00",
                    "response": "red",
                    "confidence": confidence,
                    "agreement": float(rng.integers(0, 9)) / 8 if part == "calibration" else None,
                    "wrong": bool(rng.random() > confidence),
                }
            )
    return rows


def write_table(path: Path, rows: list[dict], schema: pa.Schema) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)


def write_questions(folder: Path) -> None:
    """What the stages `questions`, `unanswerable`, `benchmarks`, `confidence` and `evaluate` leave, in one folder."""
    unanswerable = [
        question(number, "mismatch", "open", id=f"mismatch:train:vqav2_train_{number}+x", answerable=False)
        for number in (2, 3)
    ]
    write_table(folder / "train.parquet", QUESTIONS, QUESTION)
    write_table(folder / "questions.parquet", unanswerable, QUESTION)
    write_table(folder / "benchmarks.parquet", benchmark_rows(), BENCHMARK_QUESTION)
    write_table(folder / "answers.parquet", sampled_rows(), SAMPLED_ANSWERS)
    write_table(folder / "predictions.parquet", prediction_rows(), PREDICTION)


def write_model(folder: Path) -> None:
    """The files that a checkpoint is known by; nothing can load it."""
    folder.mkdir(parents=True)
    for name in ("config.json", "tokenizer_config.json", "processor_config.json"):
        (folder / name).write_text("{}")
    (folder / "model.safetensors").write_bytes(folder.parent.name.encode())


def pixels(file: Path | io.BytesIO) -> list:
    """[height, width, SHA-256 of the decoded pixels] of a picture."""
    picture = Image.open(file).convert("RGB")
    return [picture.height, picture.width, hashlib.sha256(picture.tobytes()).hexdigest()]


def read_tables(folder: Path, *names: str) -> dict[str, list[dict]]:
    """The rows of these Parquet files by name."""
    return {name: pq.read_table(folder / f"{name}.parquet").to_pylist() for name in names}
