"""Starts a training under Ray Train: plans its batches, shards them over workers, and checks how it ended."""

import json
import os

import pyarrow as pa
import ray.data
from ray.train import CheckpointConfig, DataConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from inbol_ray.config.training import CHECKPOINTS_KEPT, CaDpoConfig, MethodConfig, TrackingConfig
from inbol_ray.store.local_copies import copy_folder, job_storage
from inbol_ray.store.storage import create_folder, delete_folder, open_filesystem
from inbol_ray.training.batches import plan_batches
from inbol_ray.training.checkpoint import discard_torn_index
from inbol_ray.training.divergence import forget_divergence, raise_if_diverged
from inbol_ray.training.loop import TrainingRun, train_worker
from inbol_ray.training.reference_columns import add_reference_logps
from inbol_ray.training.stopping import checkpoint_on_sigterm
from inbol_ray.training.tracking import LOGS, SUMMARY, check_packages

SECONDS_BETWEEN_LOOKS = 0.2
"""How often Ray Train looks at its workers. A report waits until it has been seen, 2 s by default: many steps long."""


def run_training(
    rows: pa.Table,
    config: MethodConfig,
    *,
    name: str,
    init_checkpoint: str,
    out_dir: str,
    run_dir: str,
    seed: int,
    tracking: TrackingConfig | None = None,
    progress: str | None = None,
    system: str | None = None,
) -> dict:
    """Train on `rows` (CONVERSATION or PREFERENCE_SET columns); returns the last metrics.

    `system` is the text before the first turn of every row. `out_dir` gets `model/`, `logs/`, and `adapter/` of a LoRA
    run; it and `run_dir` are absolute paths that every worker reaches, or `s3://` URIs. Calling it again with the same
    `run_dir` after a crash goes on from the last checkpoint in it.

    Raises ConfigError for MLflow or Weights & Biases without its package, DataError for too few rows,
    TrainingDivergedError, SystemExit after a SIGTERM (once there is a checkpoint), and whatever a worker raised
    `max_failures` times over.
    """
    tracking = tracking or TrackingConfig()
    check_packages(tracking)
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", str(SECONDS_BETWEEN_LOOKS))
    filesystem, storage_path = open_filesystem(run_dir, job_storage())
    create_folder(filesystem, storage_path)
    forget_divergence(run_dir)
    discard_torn_index(f"{run_dir}/{name}")
    if isinstance(config, CaDpoConfig) and config.reference == "precomputed":
        rows = add_reference_logps(rows, config, init_checkpoint, run_dir, system)
    shares, num_steps = plan_batches(rows, config, seed)
    run = TrainingRun(
        name=name,
        method=config.model_dump(mode="json"),
        tracking=tracking.model_dump(mode="json"),
        init_checkpoint=init_checkpoint,
        out_dir=out_dir,
        run_dir=run_dir,
        seed=seed,
        num_steps=num_steps,
        progress=progress,
        system=system,
    )
    gpus = {"GPU": config.num_gpus_per_worker} if config.num_gpus_per_worker else {}
    trainer = TorchTrainer(
        train_worker,
        train_loop_config=vars(run),
        # A dataset a share, instead of one that Ray splits: which row is in which share is part of the plan.
        datasets={f"share_{share}": ray.data.from_arrow(table) for share, table in enumerate(shares)},
        dataset_config=DataConfig(
            datasets_to_split=[], execution_options=ray.data.ExecutionOptions(preserve_order=True)
        ),
        torch_config=TorchConfig(backend="nccl" if config.compute_device == "cuda" else "gloo"),
        scaling_config=ScalingConfig(
            # A range lets Ray Train go on with the workers that are left, and grow again when nodes come back.
            num_workers=(config.min_workers, config.num_workers) if config.min_workers else config.num_workers,
            use_gpu=bool(gpus),
            resources_per_worker={"CPU": 1} | gpus,
        ),
        run_config=RunConfig(
            name=name,
            storage_path=storage_path,
            storage_filesystem=filesystem,
            failure_config=FailureConfig(max_failures=config.max_failures),
            checkpoint_config=CheckpointConfig(num_to_keep=CHECKPOINTS_KEPT),
        ),
    )
    with checkpoint_on_sigterm():
        trainer.fit()
    raise_if_diverged(name, run_dir)
    with filesystem.open_input_file(f"{storage_path}/{LOGS}/{SUMMARY}") as file:
        summary = json.loads(file.read())
    delete_folder(f"{out_dir}/{LOGS}", job_storage())
    copy_folder(f"{run_dir}/{LOGS}", f"{out_dir}/{LOGS}")
    return summary
