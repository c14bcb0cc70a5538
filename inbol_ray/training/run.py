"""Starts a training under Ray Train: plans its batches, shards them over workers, and checks how it ended."""

import importlib.util
import json
import os
import shutil
from pathlib import Path

import pyarrow as pa
import ray.data
from ray.train import CheckpointConfig, DataConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from inbol_ray.config.schema import CaDpoConfig, MethodConfig, TrackingConfig
from inbol_ray.errors import ConfigError
from inbol_ray.training.batches import plan_batches
from inbol_ray.training.checkpoint import discard_torn_index
from inbol_ray.training.loop import TrainingRun, train_worker
from inbol_ray.training.reference import add_reference_logps
from inbol_ray.training.tracking import LOGS
from inbol_ray.training.watch import forget_divergence, raise_if_diverged

CHECKPOINTS_KEPT = 2
SECONDS_BETWEEN_LOOKS = 0.2
"""How often Ray Train looks at its workers. A report waits until it has been seen, 2 s by default: many steps long."""


def run_training(
    rows: pa.Table,
    config: MethodConfig,
    *,
    name: str,
    init_checkpoint: str,
    out_dir: Path,
    run_dir: Path,
    seed: int,
    tracking: TrackingConfig | None = None,
    progress_dir: Path | None = None,
) -> dict:
    """Train on `rows` (CONVERSATION or PREFERENCE_SET columns); returns the last metrics.

    `out_dir` gets `model/`, `logs/`, and `adapter/` of a LoRA run; its parent must be reachable from every worker, as
    must `run_dir`. Calling it again with the same `run_dir` after a crash goes on from the last checkpoint in it.

    Raises ConfigError for MLflow without its package, DataError for too few rows, TrainingDivergedError, and whatever
    a worker raised `max_failures` times over.
    """
    tracking = tracking or TrackingConfig()
    if tracking.mlflow_tracking_uri and importlib.util.find_spec("mlflow") is None:
        raise ConfigError(
            f"tracking.mlflow_tracking_uri is {tracking.mlflow_tracking_uri!r}, but the package mlflow is not "
            "installed: install inbol-ray[mlflow] on every node, or set it to null"
        )
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", str(SECONDS_BETWEEN_LOOKS))
    run_dir = run_dir.resolve()
    run_dir.mkdir(parents=True, exist_ok=True)
    forget_divergence(run_dir)
    discard_torn_index(run_dir / name)
    if isinstance(config, CaDpoConfig) and config.reference == "precomputed":
        rows = add_reference_logps(rows, config, init_checkpoint, run_dir / "reference_logps.parquet")
    shards, num_steps = plan_batches(rows, config, seed)
    run = TrainingRun(
        name=name,
        method=config.model_dump(mode="json"),
        tracking=tracking.model_dump(mode="json"),
        init_checkpoint=init_checkpoint,
        out_dir=str(out_dir.resolve()),
        run_dir=str(run_dir),
        seed=seed,
        num_steps=num_steps,
        progress_dir=str(progress_dir) if progress_dir else None,
    )
    gpus = {"GPU": config.num_gpus_per_worker} if config.num_gpus_per_worker else {}
    TorchTrainer(
        train_worker,
        train_loop_config=vars(run),
        # A dataset a worker, instead of one that Ray splits: which worker trains on which row is part of the plan.
        datasets={f"worker_{rank}": ray.data.from_arrow(shard) for rank, shard in enumerate(shards)},
        dataset_config=DataConfig(
            datasets_to_split=[], execution_options=ray.data.ExecutionOptions(preserve_order=True)
        ),
        torch_config=TorchConfig(backend="nccl" if gpus else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=config.num_workers, use_gpu=bool(gpus), resources_per_worker={"CPU": 1} | gpus
        ),
        run_config=RunConfig(
            name=name,
            storage_path=str(run_dir),
            failure_config=FailureConfig(max_failures=config.max_failures),
            checkpoint_config=CheckpointConfig(num_to_keep=CHECKPOINTS_KEPT),
        ),
    ).fit()
    raise_if_diverged(name, run_dir)
    summary = json.loads((run_dir / LOGS / "summary.json").read_text())
    shutil.rmtree(out_dir / LOGS, ignore_errors=True)
    shutil.copytree(run_dir / LOGS, out_dir / LOGS)
    return summary
