"""The training loop that every Ray Train worker runs, and the call that starts it.

rows in a fixed order -> global batches -> each worker's share -> micro-batches -> one optimiser step

Which rows make up step k depends on the seed alone, not on the number of workers: each worker reads the same stream
and takes every world-size-th row of each global batch.
"""

import json
import math
import tempfile
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import ray
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from pydantic import TypeAdapter
from ray.data.collate_fn import NumpyBatchCollateFn
from ray.train import Checkpoint, CheckpointConfig, DataConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict

from inbol_ray.config.schema import MethodConfig, TrainingConfig
from inbol_ray.errors import DataError, TrainingDivergedError
from inbol_ray.local_copies import job_storage, local_copy, written_to
from inbol_ray.progress import write_progress
from inbol_ray.storage import open_filesystem
from inbol_ray.training.fsdp import export_merged, load_model, load_processor, prepare_model, shard
from inbol_ray.training.objectives import Batch, Objective, build_objective
from inbol_ray.training.stopping import StopSignal, checkpoint_on_sigterm

REPORT_EVERY_STEPS = 20
_METHOD = TypeAdapter(MethodConfig)


@dataclass
class TrainingRun:
    """Everything a worker needs, as plain values."""

    name: str
    method: dict
    init_checkpoint: str
    out_dir: str
    seed: int
    num_steps: int
    progress: str | None = None


def unroll_epochs(rows: pa.Table, num_epochs: int, batch_size: int, seed: int) -> pa.Table:
    """The rows of all epochs in training order, each epoch shuffled anew, its incomplete last batch left out.

    Raises DataError when there are fewer rows than one batch.
    """
    per_epoch = rows.num_rows // batch_size * batch_size
    if not per_epoch:
        raise DataError(
            f"{rows.num_rows} training rows are fewer than one global batch of {batch_size}; "
            "lower global_batch_size or add data"
        )
    order = [np.random.default_rng([seed, epoch]).permutation(rows.num_rows)[:per_epoch] for epoch in range(num_epochs)]
    return rows.take(pa.array(np.concatenate(order)))


def run_training(
    rows: pa.Table,
    config: TrainingConfig,
    *,
    name: str,
    init_checkpoint: str,
    out_dir: str,
    run_dir: str,
    seed: int,
    progress: str | None = None,
) -> dict:
    """Train on `rows` (CONVERSATION or PREFERENCE_SET columns) and write a merged checkpoint to `out_dir`.

    Both folders are paths or `s3://` URIs that every worker reaches.

    Calling it again with the same `run_dir` after a crash continues from the last checkpoint in it. Returns the last
    metrics. Raises whatever a worker raised, after `max_failures` retries.
    """
    stream = unroll_epochs(rows, config.num_epochs, config.global_batch_size, seed)
    run = TrainingRun(
        name=name,
        method=config.model_dump(),
        init_checkpoint=init_checkpoint,
        out_dir=out_dir,
        seed=seed,
        num_steps=stream.num_rows // config.global_batch_size,
        progress=progress,
    )
    filesystem, storage_path = open_filesystem(run_dir, job_storage())
    options = ray.data.ExecutionOptions(preserve_order=True)
    trainer = TorchTrainer(
        train_worker,
        train_loop_config=vars(run),
        # Every worker sees the whole stream and picks its rows: see the module's docstring.
        datasets={"train": ray.data.from_arrow(stream)},
        dataset_config=DataConfig(datasets_to_split=[], execution_options=options),
        torch_config=TorchConfig(backend="nccl" if config.num_gpus_per_worker else "gloo"),
        scaling_config=ScalingConfig(
            # A range lets Ray Train go on with the workers that are left, and grow again when nodes come back.
            num_workers=(config.min_workers, config.num_workers) if config.min_workers else config.num_workers,
            use_gpu=config.num_gpus_per_worker > 0,
            resources_per_worker={"CPU": 1}
            | ({"GPU": config.num_gpus_per_worker} if config.num_gpus_per_worker else {}),
        ),
        run_config=RunConfig(
            name=name,
            storage_path=storage_path,
            storage_filesystem=filesystem,
            failure_config=FailureConfig(max_failures=config.max_failures),
            checkpoint_config=CheckpointConfig(num_to_keep=2),
        ),
    )
    with checkpoint_on_sigterm():
        trainer.fit()
    filesystem, path = open_filesystem(f"{out_dir}/training.json", job_storage())
    with filesystem.open_input_file(path) as file:
        return json.loads(file.read())


class _ShareOfBatch(NumpyBatchCollateFn):
    """Rows of a global batch -> this worker's micro-batches.

    The objective is built outside: transformers' lazy imports race in the iterator's threads.
    """

    def __init__(self, objective: Objective, rank: int, world_size: int, micro_batch_size: int | None) -> None:
        self.objective, self.rank, self.world_size, self.micro_batch_size = (
            objective,
            rank,
            world_size,
            micro_batch_size,
        )

    def __call__(self, batch: dict[str, np.ndarray]) -> list[Batch]:
        rows = [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
        share = rows[self.rank :: self.world_size]
        size = self.micro_batch_size or len(share)
        return [self.objective.collate(share[start : start + size]) for start in range(0, len(share), size)]


def learning_rate(step: int, num_steps: int, config: TrainingConfig) -> float:
    """Warm-up, hold, then linear or cosine decay to `final_learning_rate_rate` of the peak. `step` counts from 0."""
    warmup = min(1.0, (step + 1) / max(1, config.warmup_steps))
    done = max(0.0, step / max(1, num_steps) - config.hold_rate) / (1 - config.hold_rate)
    decay = 1 - done if config.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
    final = config.final_learning_rate_rate
    return config.learning_rate * warmup * (final + (1 - final) * decay)


class _Resumable:
    """Model, optimiser and step as one stateful object for torch.distributed.checkpoint."""

    def __init__(self, model, optimizer, lora: bool) -> None:
        self.model, self.optimizer, self.step = model, optimizer, 0
        self.save_options = StateDictOptions(ignore_frozen_params=lora)
        self.load_options = StateDictOptions(ignore_frozen_params=lora, strict=not lora)

    def state_dict(self) -> dict:
        model, optimizer = get_state_dict(self.model, self.optimizer, options=self.save_options)
        return {"model": model, "optimizer": optimizer, "step": self.step}

    def load_state_dict(self, state: dict) -> None:
        set_state_dict(
            self.model,
            self.optimizer,
            model_state_dict=state["model"],
            optim_state_dict=state["optimizer"],
            options=self.load_options,
        )
        self.step = state["step"]


def train_worker(run_values: dict) -> None:
    """What each Ray Train worker runs."""
    run = TrainingRun(**run_values)
    config = _METHOD.validate_python(run.method)
    context = ray.train.get_context()
    rank, world_size = context.get_world_rank(), context.get_world_size()
    torch.manual_seed(run.seed)

    init = local_copy(run.init_checkpoint)
    objective = build_objective(config, load_processor(init))
    model = shard(prepare_model(init, config), config)
    reference = _build_reference(objective, model, init, config)
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        trainable,
        lr=config.learning_rate,
        betas=(0.9, config.adam_beta2),
        weight_decay=config.weight_decay,
        foreach=True,
    )
    state = _Resumable(model, optimizer, lora=config.lora is not None)
    if checkpoint := ray.train.get_checkpoint():
        with checkpoint.as_directory() as folder:
            dcp.load({"state": state}, checkpoint_id=folder)
    model.train()

    batches = ray.train.get_dataset_shard("train").iter_torch_batches(
        batch_size=config.global_batch_size,
        collate_fn=_ShareOfBatch(objective, rank, world_size, config.micro_batch_size),
        prefetch_batches=2,
        drop_last=True,
    )
    should_stop = StopSignal(next(model.parameters()).device)
    started, first_step = time.monotonic(), state.step
    metrics: dict = {}
    for step, micro_batches in enumerate(batches):
        if step < state.step:
            continue
        totals = _optimiser_step(model, micro_batches, objective, reference, optimizer, trainable, step, run, config)
        state.step = step + 1
        is_last = state.step == run.num_steps
        if state.step % REPORT_EVERY_STEPS == 0 or is_last:
            steps_per_s = (state.step - first_step) / (time.monotonic() - started)
            metrics = totals | {"step": state.step, "steps_per_s": steps_per_s}
            if rank == 0:
                note = f"loss {totals['loss']:.3f}"
                measures = totals | {"steps_per_s": steps_per_s}
                write_progress(run.progress, state.step, run.num_steps, "steps", note, measures=measures)
        stopping = not is_last and should_stop()
        if stopping or (state.step % config.checkpoint_every_steps == 0 and not is_last):
            with tempfile.TemporaryDirectory() as folder:
                dcp.save({"state": state}, checkpoint_id=folder)
                ray.train.report(
                    metrics, checkpoint=Checkpoint.from_directory(folder), checkpoint_dir_name=f"step_{state.step:07d}"
                )
        elif state.step % REPORT_EVERY_STEPS == 0:
            ray.train.report(metrics)
        if stopping:
            return

    with written_to(run.out_dir) if rank == 0 else nullcontext(Path()) as out_dir:
        export_merged(model, config, init, out_dir)
        if rank == 0:
            summary = metrics | {"num_steps": run.num_steps, "resumed_from_step": first_step, "num_workers": world_size}
            (out_dir / "training.json").write_text(json.dumps(summary, indent=1))
    dist.barrier()


def _build_reference(objective: Objective, model, init_checkpoint: str, config: TrainingConfig):
    """A function batch -> reference log-probabilities: adapter off for LoRA, else a frozen second copy."""
    if not objective.needs_reference:
        return None
    if config.lora is not None:

        def adapter_off(batch: Batch) -> torch.Tensor:
            with model.disable_adapter():
                return objective.logps(model, batch)

        return adapter_off
    frozen = shard(load_model(init_checkpoint).requires_grad_(False), config).eval()
    return lambda batch: objective.logps(frozen, batch)


def _optimiser_step(
    model, micro_batches, objective, reference, optimizer, trainable, step, run: TrainingRun, config
) -> dict[str, float]:
    """One step over this worker's micro-batches; returns metrics averaged over all workers.

    Raises TrainingDivergedError on a loss that is not finite.
    """
    device = next(model.parameters()).device
    world_size = dist.get_world_size()
    normaliser = torch.tensor(sum(map(objective.normaliser, micro_batches)), device=device)
    dist.all_reduce(normaliser)
    rate = learning_rate(step, run.num_steps, config)
    for group in optimizer.param_groups:
        group["lr"] = rate

    loss_sum = torch.zeros((), device=device)
    sums: dict[str, list[float]] = {}
    for batch in micro_batches:
        batch = {key: value if key == "slot_widths" else value.to(device) for key, value in batch.items()}
        loss, batch_metrics = objective.loss(model, batch, reference)
        # FSDP averages gradients over workers; the loss is a sum over all of them.
        (loss * (world_size / normaliser)).backward()
        loss_sum += loss.detach()
        for key, (value, count) in batch_metrics.items():
            total = sums.setdefault(key, [0.0, 0.0])
            total[0] += value
            total[1] += count
    dist.all_reduce(loss_sum)
    mean_loss = float(loss_sum / normaliser)
    if not math.isfinite(mean_loss):
        raise TrainingDivergedError(
            f"{run.name}: loss is {mean_loss} at step {step + 1} of {run.num_steps}; lower learning_rate "
            f"({config.learning_rate}) or max_grad_norm ({config.max_grad_norm})"
        )
    grad_norm = torch.nn.utils.clip_grad_norm_(trainable, config.max_grad_norm)
    grad_norm = grad_norm.full_tensor() if hasattr(grad_norm, "full_tensor") else grad_norm
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    averages = {key: total / count for key, (total, count) in sums.items() if count}
    return {"loss": mean_loss, "grad_norm": float(grad_norm), "learning_rate": rate} | averages
