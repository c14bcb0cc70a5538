"""A GPU configuration on a machine that has no GPU: tiny corpora in the official formats, a tiny model, logical GPUs."""

from collections.abc import Callable
from pathlib import Path

import yaml
from benchmark_files import SPLITS, TEN, write_benchmarks
from corpus_writers import png, write

from inbol_ray.config.load import load_config

ROOT = Path(__file__).parents[1]
RAYCLUSTER = ROOT / "cluster" / "kuberay" / "raycluster.yaml"
ROWS = 8
"""Questions of each training corpus."""


def rehearsed(config_file: str, checkpoint: Path, folder: Path, num_processes: int) -> Path:
    """What must differ from a shipped configuration where there is no GPU, as a second configuration file.

    Devices, the model and the corpora, and what a large model and large corpora bring with them: lengths, batch sizes
    and sizes of corpora. Which stages run, how many GPUs each process takes, adapters, compute types of training and
    every other setting are the shipped ones.
    """
    shipped = load_config(["--config", config_file])

    def written(corpora: list) -> list[dict]:
        return [
            corpus.model_dump(mode="json") | {"root": _write_corpus(corpus.dataset, corpus.split, folder)}
            for corpus in corpora
        ]

    training = {
        "device": "cpu",
        "num_workers": num_processes,
        "global_batch_size": 2 * num_processes,
        "max_length": 256,
        "warmup_steps": 1,
    }
    overrides = {
        "output_dir": str(folder / "out"),
        "base_model": {"path": str(checkpoint)},
        "corpora": written(shipped.corpora),
        "engine": {
            "device": "cpu",
            "num_engines": num_processes,
            "max_model_len": 256,
            "kv_cache_bytes": 64 << 20,
            "enforce_eager": True,
            "batch_size": 16,
        },
        "sampling": {"max_tokens": 4},
        "unanswerable": {"num_mismatch": 8, "num_generated": 4, "num_kept": 6, "max_question_tokens": 8},
        "training": {name: training for name in shipped.training},
        "evaluation": {"max_tokens": 4, "benchmarks": written(shipped.evaluation.benchmarks)},
        "serving": {"max_tokens": 4},
    }
    if shipped.calibration is not None:
        overrides["calibration"] = {"benchmarks": written(shipped.calibration.benchmarks)}
    file = folder / "rehearsal.yaml"
    file.write_text(yaml.safe_dump(overrides))
    return file


def kuberay_nodes() -> dict[str, dict[str, float]]:
    """CPUs and GPUs of a node of each group of the shipped KubeRay cluster, the head among them."""
    spec = yaml.safe_load(RAYCLUSTER.read_text())["spec"]
    nodes = {"head": {"CPU": float(spec["headGroupSpec"]["rayStartParams"]["num-cpus"])}}
    for group in spec["workerGroupSpecs"]:
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        gpus = {"GPU": float(limits["nvidia.com/gpu"])} if "nvidia.com/gpu" in limits else {}
        nodes[group["groupName"]] = {"CPU": float(limits["cpu"])} | gpus
    return nodes


def _write_corpus(dataset: str, split: str, folder: Path) -> str:
    """A small corpus in its official format; returns its root."""
    root = folder / "corpora" / dataset / split
    if dataset in _TRAINING_WRITERS:
        _TRAINING_WRITERS[dataset](root, split)
        return str(root)
    if not (benchmarks := folder / "benchmarks").exists():
        write_benchmarks(benchmarks)
    assert SPLITS[dataset] == split, f"no small {dataset}:{split}: add a writer"
    return str(benchmarks / dataset)


def _write_vqav2(root: Path, split: str) -> None:
    first = 1000 * (1 + ["train2014", "val2014"].index(split))
    ids = range(first, first + ROWS)
    questions = [{"image_id": k, "question_id": k, "question": f"What color is number {k}?"} for k in ids]
    annotations = [
        {"question_id": k, "image_id": k, "question_type": "what color", "answer_type": "other", "answers": TEN}
        for k in ids
    ]
    write(root / f"v2_OpenEnded_mscoco_{split}_questions.json", {"questions": questions})
    write(root / f"v2_mscoco_{split}_annotations.json", {"annotations": annotations})
    for k in ids:
        write(root / split / f"COCO_{split}_{k:012d}.jpg", png(k % 256))


def _write_scienceqa(root: Path, split: str) -> None:
    shared = {"choices": ["rock", "air"], "answer": 0, "split": split, "subject": "natural science", "grade": "grade3"}
    shared |= {"hint": "Solids keep their shape.", "image": "image.png"}
    problems = {
        f"{split}{n}": shared | {"question": f"Which {split} thing number {n} is a solid?"} for n in range(ROWS)
    }
    write(root / "problems.json", problems)
    write(root / "pid_splits.json", {split: list(problems)})
    for n, pid in enumerate(problems):
        write(root / "images" / split / pid / "image.png", png(100 + n + 10 * ["train", "val", "test"].index(split)))


def _write_oven(root: Path, split: str) -> None:
    first = 100 * ["entity_train", "entity_val"].index(split)
    lines = [
        {
            "data_id": f"{split}_{n}",
            "image_id": f"oven_{1_000_000 + first + n:08d}",
            "entity_id": "Q42",
            "question": f"which aircraft is number {first + n}?",
            "entity_text": "Cessna 172 (aircraft)",
            "data_split": f"{split}_seen" if split == "entity_val" else split,
        }
        for n in range(ROWS)
    ]
    write(root / f"oven_{split}.jsonl", lines)
    for n, line in enumerate(lines):
        write(root / line["image_id"][5:7] / f"{line['image_id']}.jpg", png(200 + n + first // 10))


_TRAINING_WRITERS: dict[str, Callable[[Path, str], None]] = {
    "vqav2": _write_vqav2,
    "scienceqa": _write_scienceqa,
    "oven": _write_oven,
}
