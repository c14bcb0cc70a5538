"""Writes the toy world in the official formats of the real corpora, so that the same readers read both.

    {root}/vqav2/       v2_OpenEnded_mscoco_{split}_questions.json, v2_mscoco_{split}_annotations.json, {split}/COCO_*.jpg
    {root}/scienceqa/   problems.json, pid_splits.json, images/{split}/{pid}/image.png
    {root}/oven/        oven_entity_{train,val}.jsonl, images/{2 digits}/oven_*.jpg
    {root}/vqav2_idk/   VQAv2-IDK-{split}.json, {split}/COCO_*.jpg        (in-domain unanswerable questions)
    {root}/vizwiz/      {split}.json, {split}/VizWiz_*.jpg               (out of domain, answerable and not)
    {root}/truth.jsonl  scene and answerability of every image and question, for tests only

Splits share no scene. `val` is the validation split on which choices are made, `test` is only ever evaluated.
"""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from inbol_ray.config.corpora import ToyWorldConfig
from inbol_ray.toyworld.questions import (
    ALIGNMENT_PHRASINGS,
    HELD_OUT_FAMILY,
    HELD_OUT_PHRASING,
    KNOWLEDGE,
    PERCEPTION,
    UNSEEN,
    UNSEEN_HELD_OUT,
    ToyQuestion,
    ask,
    ask_unanswerable,
    with_choices,
)
from inbol_ray.toyworld.scenes import Scene, SceneStyle, draw_scene, encode_png, render_scene

IN_DOMAIN = SceneStyle(held_out_pairs=False)
OUT_OF_DOMAIN = SceneStyle(min_things=5, max_things=8, held_out_pairs=True)
SHARES = {"vqav2": 0.5, "scienceqa": 0.2, "oven": 0.3}
"""Share of each corpus in the answerable in-domain questions."""
SPLIT_SEEDS = {"train": 11, "val": 12, "test": 13}


def write_corpora(root: Path, config: ToyWorldConfig, seed: int) -> dict[str, int]:
    """Write every corpus under `root`; returns the number of questions by file."""
    counts: dict[str, int] = {}
    truth: list[dict] = []
    sizes = {
        "train": config.num_train_questions,
        "val": config.num_validation_questions,
        "test": config.num_test_questions,
    }
    problems: dict[str, dict] = {}
    for split, size in sizes.items():
        rng = np.random.default_rng([seed, SPLIT_SEEDS[split]])
        num_unanswerable = 0 if split == "train" else round(size * config.unanswerable_test_rate)
        answerable = size - num_unanswerable
        counts[f"vqav2:{split}"] = _write_vqav2(root / "vqav2", split, rng, round(answerable * SHARES["vqav2"]), truth)
        counts[f"scienceqa:{split}"] = _write_scienceqa(
            root / "scienceqa", split, rng, round(answerable * SHARES["scienceqa"]), problems, truth
        )
        counts[f"oven:{split}"] = _write_oven(root / "oven", split, rng, round(answerable * SHARES["oven"]), truth)
        if split != "train":
            counts[f"vqav2_idk:{split}"] = _write_vqav2_idk(root / "vqav2_idk", split, rng, num_unanswerable, truth)
            counts[f"vizwiz:{split}"] = _write_vizwiz(
                root / "vizwiz", split, rng, size, config.unanswerable_test_rate, truth
            )
    _write_json(root / "scienceqa" / "problems.json", problems)
    pid_splits = {split: [pid for pid, row in problems.items() if row["split"] == split] for split in sizes}
    _write_json(root / "scienceqa" / "pid_splits.json", pid_splits)
    with open(root / "truth.jsonl", "w") as file:
        file.writelines(json.dumps(row) + "\n" for row in truth)
    return counts


def _draw_until(make, rng: np.random.Generator, style: SceneStyle) -> tuple[Scene, ToyQuestion]:
    while True:
        scene = draw_scene(rng, style)
        question = make(scene)
        if question is not None:
            return scene, question


def _answerable(rng: np.random.Generator, families: tuple[str, ...], phrasings: tuple[int, ...]):
    def make(scene: Scene) -> ToyQuestion | None:
        return ask(rng, scene, families[int(rng.integers(len(families)))], int(rng.choice(phrasings)))

    return make


def _save_image(path: Path, scene: Scene) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(render_scene(scene)))


def _write_json(path: Path, value) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def _record(truth: list[dict], question_id: str, scene: Scene, question: ToyQuestion) -> None:
    truth.append({"id": question_id, "scene": asdict(scene), "family": question.family, "answer": question.answer})


def _write_vqav2(root: Path, split: str, rng: np.random.Generator, count: int, truth: list[dict]) -> int:
    subset = f"{split}2014"
    questions, annotations = [], []
    for number in range(1, count + 1):
        scene, question = _draw_until(_answerable(rng, PERCEPTION, ALIGNMENT_PHRASINGS), rng, IN_DOMAIN)
        image_id = number + 100_000 * SPLIT_SEEDS[split]
        question_id = image_id * 1000
        _save_image(root / subset / f"COCO_{subset}_{image_id:012d}.jpg", scene)
        questions.append({"image_id": image_id, "question_id": question_id, "question": question.text})
        answers = [{"answer_id": k, "answer": question.answer, "answer_confidence": "yes"} for k in range(1, 11)]
        annotations.append(
            {
                "image_id": image_id,
                "question_id": question_id,
                "question_type": " ".join(question.text.lower().split()[:2]),
                "answer_type": "number" if question.answer.isdigit() else "other",
                "multiple_choice_answer": question.answer,
                "answers": answers,
            }
        )
        _record(truth, f"vqav2:{subset}:{question_id}", scene, question)
    _write_json(root / f"v2_OpenEnded_mscoco_{subset}_questions.json", {"data_subtype": subset, "questions": questions})
    _write_json(root / f"v2_mscoco_{subset}_annotations.json", {"data_subtype": subset, "annotations": annotations})
    return count


def _write_scienceqa(
    root: Path, split: str, rng: np.random.Generator, count: int, problems: dict[str, dict], truth: list[dict]
) -> int:
    families = tuple(family for family in PERCEPTION if not family.startswith("count")) + ("home",)
    for _ in range(count):
        scene, question = _draw_until(_answerable(rng, families, ALIGNMENT_PHRASINGS), rng, IN_DOMAIN)
        question = with_choices(rng, question, int(rng.integers(3, 5)))
        pid = str(len(problems) + 1)
        problems[pid] = {
            "question": question.text,
            "choices": list(question.choices),
            "answer": question.choices.index(question.answer),
            "hint": "",
            "image": "image.png",
            "subject": "natural science",
            "split": split,
        }
        _save_image(root / "images" / split / pid / "image.png", scene)
        _record(truth, f"scienceqa:{split}:{pid}", scene, question)
    return count


def _write_oven(root: Path, split: str, rng: np.random.Generator, count: int, truth: list[dict]) -> int:
    lines = []
    for number in range(1, count + 1):
        scene, question = _draw_until(_answerable(rng, KNOWLEDGE, ALIGNMENT_PHRASINGS), rng, IN_DOMAIN)
        image_id = f"oven_{number + 1_000_000 * SPLIT_SEEDS[split]:08d}"
        data_id = f"oven_entity_{split}_{number:08d}"
        digits = image_id.removeprefix("oven_")
        _save_image(root / "images" / digits[:2] / f"{image_id}.jpg", scene)
        lines.append(
            {
                "data_id": data_id,
                "image_id": image_id,
                "question": question.text,
                "entity_id": f"Q{_stable_id(question.answer)}",
                "entity_text": question.answer,
                "data_split": f"entity_{split}" if split == "train" else f"entity_{split}_seen",
            }
        )
        _record(truth, f"oven:entity_{split}:{data_id}", scene, question)
    root.mkdir(parents=True, exist_ok=True)
    (root / f"oven_entity_{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return count


def _stable_id(text: str) -> int:
    return int.from_bytes(text.encode()[:6], "big") % 10**7


def _write_vqav2_idk(root: Path, split: str, rng: np.random.Generator, count: int, truth: list[dict]) -> int:
    subset = f"{split}2014"
    rows = []
    for number in range(1, count + 1):
        phrasing = int(rng.choice(ALIGNMENT_PHRASINGS))
        scene, question = _draw_until(
            lambda scene, phrasing=phrasing: ask_unanswerable(rng, scene, phrasing, UNSEEN), rng, IN_DOMAIN
        )
        image = f"{subset}/COCO_{subset}_{number + 500_000 + 100_000 * SPLIT_SEEDS[split]:012d}.jpg"
        _save_image(root / image, scene)
        question_id = f"{number}{SPLIT_SEEDS[split]}"
        rows.append(
            {
                "question_id": question_id,
                "image": image,
                "question": question.text,
                "answer": ["unanswerable"] * 10,
                "keywords": ["unanswerable"] * 10,
            }
        )
        _record(truth, f"vqav2_idk:{split}:{question_id}", scene, question)
    _write_json(root / f"VQAv2-IDK-{split}.json", rows)
    return count


def _write_vizwiz(
    root: Path, split: str, rng: np.random.Generator, count: int, unanswerable_rate: float, truth: list[dict]
) -> int:
    rows = []
    families = (*PERCEPTION, *KNOWLEDGE, HELD_OUT_FAMILY)
    for number in range(1, count + 1):
        if rng.random() < unanswerable_rate:
            scene, question = _draw_until(
                lambda scene: ask_unanswerable(rng, scene, HELD_OUT_PHRASING, UNSEEN_HELD_OUT), rng, OUT_OF_DOMAIN
            )
        else:
            scene, question = _draw_until(_answerable(rng, families, (HELD_OUT_PHRASING,)), rng, OUT_OF_DOMAIN)
        image = f"VizWiz_{split}_{number:08d}.jpg"
        _save_image(root / split / image, scene)
        answer = question.answer or "unanswerable"
        rows.append(
            {
                "image": image,
                "question": question.text,
                "answers": [{"answer": answer, "answer_confidence": "yes"}] * 10,
                "answer_type": "other" if question.answer else "unanswerable",
                "answerable": int(question.answer is not None),
            }
        )
        _record(truth, f"vizwiz:{split}:{image}", scene, question)
    _write_json(root / f"{split}.json", rows)
    return count
