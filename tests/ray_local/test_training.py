"""Training on real Ray Train, Ray Data and FSDP workers: its curve depends on the data and the seed alone."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import psutil
import pyarrow as pa
import pytest
import torch

from inbol_ray.config.load import load_config
from inbol_ray.config.training import CaDpoConfig, LoraSettings, TrackingConfig
from inbol_ray.errors import TrainingDivergedError
from inbol_ray.method.preference_pairs import add_pair_weights
from inbol_ray.models import DEFAULT_FAMILY
from inbol_ray.rows import KNOWLEDGE_CLASSES, PREFERENCE_SET
from inbol_ray.runtime.ray_session import started_ray

CONFIGS = ["--config", "jobs/configs/demo.yaml", "--config", "tests/ray_local/small.yaml"]
CONFIG = CaDpoConfig(
    init_from="original",
    learning_rate=2e-3,
    num_epochs=2,
    global_batch_size=8,
    num_workers=2,
    warmup_steps=2,
    min_parameters_per_shard=0,  # every layer of the tiny model by itself, as of a large one
    lora=LoraSettings(rank=4, alpha=8),
    checkpoint_every_steps=3,
    max_failures=1,
)
NUM_STEPS = 16
COMPARED = ("loss", "grad_norm", "learning_rate", "margin_correct_incorrect", "samples_mixed", "tokens")


def preference_rows(images: list[str], count: int = 64) -> pa.Table:
    rows = []
    for index in range(count):
        knowledge = KNOWLEDGE_CLASSES[index % 3]
        confidence = {"known": 0.9, "mixed": 0.4 + index % 3 / 10, "unknown": 0.1}[knowledge]
        rows.append(
            {
                "id": f"{index:03d}",
                "images": [images[index % len(images)]],
                "user": "What is " + "very " * (index % 7) + f"{index}?",
                "correct": None if knowledge == "unknown" else f"red {index % 5}",
                "incorrect": None if knowledge == "known" else f"dark blue and green {index}",
                "refusal": "Sorry, I can't answer that.",
                "knowledge": knowledge,
                "confidence": confidence,
            }
        )
    return add_pair_weights(pa.Table.from_pylist(rows, schema=PREFERENCE_SET))


@pytest.fixture(scope="module")
def train(tiny_llava, scene_images, tmp_path_factory):
    """A function that runs a training of its own name and returns the folder that it wrote."""
    from inbol_ray.models.loading import load_processor
    from inbol_ray.training.batches import add_token_counts
    from inbol_ray.training.objectives import build_objective
    from inbol_ray.training.run import run_training

    root = tmp_path_factory.mktemp("training")
    rows = preference_rows(scene_images)
    rows = add_token_counts(rows, build_objective(CONFIG, load_processor(str(tiny_llava)), DEFAULT_FAMILY))

    def start(name: str, init: Path = tiny_llava, **changes) -> Path:
        run_training(
            rows,
            CONFIG.model_copy(update=changes),
            name=name,
            init_checkpoint=str(init),
            out_dir=str(root / name),
            run_dir=str(root / name / "resume"),
            seed=0,
            tracking=TrackingConfig(report_every_steps=1),
        )
        return root / name

    with started_ray(load_config(CONFIGS)):
        start.root = root
        yield start


@pytest.fixture(scope="module")
def undisturbed(train):
    return train("undisturbed")


def curve(folder: Path) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "logs" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, NUM_STEPS + 1))
    return lines


def assert_same_curve(folder: Path, other: Path, tolerance: float) -> None:
    for ours, theirs in zip(curve(folder), curve(other), strict=True):
        for name in COMPARED:
            # A step without Mixed samples has no margin of theirs.
            expected = pytest.approx(theirs.get(name, 0.0), rel=tolerance, abs=tolerance)
            assert ours.get(name, 0.0) == expected, (name, ours["step"])


def test_the_loss_falls_and_is_logged(undisturbed):
    lines = curve(undisturbed)
    assert lines[0]["loss"] == pytest.approx(0.6931, abs=1e-4) and lines[-1]["loss"] < 0.5
    assert lines[-1]["accuracy_refusal_incorrect"] > 0.9
    assert sum(line["samples_mixed"] for line in lines) == 42
    assert all(line["peak_memory_bytes"] > 1e8 and line["tokens_per_s"] > 0 and line["step_s"] > 0 for line in lines)
    assert all(line["data_wait_s"] >= 0 for line in lines)
    assert list((undisturbed / "logs").glob("events.out.tfevents.*"))


def test_one_worker_and_a_token_budget_give_the_same_curve(train, undisturbed):
    other = train("one_worker", num_workers=1, micro_batch_tokens=150, min_parameters_per_shard=1_000_000)
    assert_same_curve(other, undisturbed, 1e-4)


@pytest.mark.slow
def test_reference_logps_computed_beforehand_give_the_same_curve(train, undisturbed):
    assert_same_curve(train("precomputed", reference="precomputed"), undisturbed, 1e-4)


def train_and_kill_a_worker(train, name: str, **changes) -> Path:
    killed = []

    def kill_a_worker() -> None:
        log = train.root / name / "resume" / "logs" / "metrics.jsonl"
        while not log.exists() or len(log.read_text().splitlines()) < 5:
            time.sleep(0.02)
        workers = [p for p in psutil.Process().children(recursive=True) if "RayTrainWorker" in "".join(p.cmdline()[:1])]
        os.kill(workers[-1].pid, signal.SIGKILL)
        killed.append(len(log.read_text().splitlines()))

    killer = threading.Thread(target=kill_a_worker, daemon=True)
    killer.start()
    folder = train(name, **changes)
    assert killed and killed[0] < NUM_STEPS, "the kill came too late to test anything"
    summary = json.loads((folder / "logs" / "summary.json").read_text())
    assert summary["resumed_from_step"] in (3, 6, 9, 12, 15)
    return folder


def test_a_killed_worker_changes_nothing(train, undisturbed):
    assert_same_curve(train_and_kill_a_worker(train, "killed"), undisturbed, 1e-6)


@pytest.mark.slow
def test_llavas_recipe_in_bfloat16_on_a_bfloat16_checkpoint_survives_a_kill(train, tiny_llava):
    """Adapter and projector in float32, the frozen rest in bfloat16, activation checkpointing, micro-batches."""
    from inbol_ray.models.loading import load_model, load_processor

    half = train.root / "half"
    load_processor(str(tiny_llava)).save_pretrained(half)
    load_model(str(tiny_llava)).to(torch.bfloat16).save_pretrained(half)
    recipe = {
        "dtype": "bfloat16",
        "gradient_checkpointing": True,
        "projector_learning_rate": 1e-3,
        "micro_batch_tokens": 100,
        "init": half,
    }
    whole = train("recipe", **recipe)
    losses = [line["loss"] for line in curve(whole)]
    assert losses[0] == pytest.approx(0.6931, abs=1e-2) and losses[-1] < 0.5
    assert_same_curve(train_and_kill_a_worker(train, "killed_recipe", **recipe), whole, 1e-6)
    merged, base = (load_model(str(folder)).state_dict() for folder in (whole / "model", half))
    changed = {name for name, weight in base.items() if not torch.equal(merged[name], weight)}
    assert all(weight.dtype == torch.bfloat16 for weight in merged.values())
    assert any("multi_modal_projector" in name for name in changed) and any("q_proj" in name for name in changed)
    assert not any("vision_tower" in name or "embed" in name or "lm_head" in name for name in changed)


def test_checkpoints_hold_adapter_and_optimiser_only_and_old_ones_are_gone(undisturbed, tiny_llava):
    from torch.distributed.checkpoint import FileSystemReader

    checkpoints = sorted((undisturbed / "resume" / "undisturbed").glob("step_*"))
    assert [path.name for path in checkpoints] == ["step_0000012", "step_0000015"]
    keys = FileSystemReader(checkpoints[-1]).read_metadata().state_dict_metadata.keys()
    weights = [key for key in keys if key.startswith(("state.model.", "state.optimizer.state."))]
    assert len(weights) > 20 and all("lora_" in key for key in weights)
    size = sum(path.stat().st_size for path in checkpoints[-1].iterdir())
    assert size < 0.5 * (tiny_llava / "model.safetensors").stat().st_size


@pytest.mark.slow
def test_a_diverging_loss_stops_the_run_and_keeps_the_batch(train):
    with pytest.raises(TrainingDivergedError, match="stopped after step"):
        train("diverging", lora=None, learning_rate=1e8, warmup_steps=0)
    folder = train.root / "diverging" / "resume" / "diverged"
    report = json.loads((folder / "worker_1.json").read_text())
    [batch] = torch.load(folder / "worker_1.pt")
    assert len(report["ids"]) == 4 and batch["ids"] == report["ids"] and batch["pixel_values"].shape[0] == 4
    assert not (train.root / "diverging" / "model").exists()
