"""The training loop that every Ray Train worker runs.

one step's rows of this worker's shares -> micro-batches -> summed gradients -> one optimiser step -> metrics, checkpoint
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import ray.train
import torch
import torch.distributed as dist
from pydantic import TypeAdapter

from inbol_ray.config.training import MethodConfig, TrackingConfig
from inbol_ray.models import family_of
from inbol_ray.models.loading import load_processor
from inbol_ray.store.local_copies import local_copy
from inbol_ray.training.batches import idle_passes, shares_of
from inbol_ray.training.checkpoint import TrainingState
from inbol_ray.training.divergence import LossWatch, save_offending_batch
from inbol_ray.training.export import export_model
from inbol_ray.training.fsdp import prepare_model, shard
from inbol_ray.training.micro_batches import MicroBatches
from inbol_ray.training.objectives import build_objective
from inbol_ray.training.optimizer_step import OptimizerStep, build_optimizer, learning_rate_factor
from inbol_ray.training.reference import build_reference
from inbol_ray.training.stopping import StopSignal
from inbol_ray.training.tracking import Tracker

_METHOD = TypeAdapter(MethodConfig)


@dataclass(frozen=True)
class TrainingRun:
    """Everything that a worker needs, as plain values."""

    name: str
    method: dict
    tracking: dict
    init_checkpoint: str
    out_dir: str
    run_dir: str
    seed: int
    num_steps: int
    progress: str | None = None
    system: str | None = None


def train_worker(run_values: dict) -> None:
    """Train from the last checkpoint to the end and export.

    Ends early, without an export, when the loss diverges (`divergence`) or the job is asked to stop (`stopping`).
    """
    run = TrainingRun(**run_values)
    config: MethodConfig = _METHOD.validate_python(run.method)
    context = ray.train.get_context()
    rank, num_workers = context.get_world_rank(), context.get_world_size()
    torch.manual_seed(run.seed)  # the same fresh adapter on every worker

    init = local_copy(run.init_checkpoint)
    objective = build_objective(config, load_processor(init), family_of(init), run.system)
    model = shard(prepare_model(init, config), config)
    reference = build_reference(model, init, config)
    optimizer = build_optimizer(model, config)
    state = TrainingState(model, optimizer, LossWatch.START)
    state.restore()
    watch = LossWatch(config.divergence_factor, state.progress)
    tracker = Tracker(run, TrackingConfig.model_validate(run.tracking), first_step=state.step, writes=rank == 0)
    step = OptimizerStep(model, objective, reference, optimizer, config)
    should_stop = StopSignal(step.device)
    model.train()

    shares = [
        ray.train.get_dataset_shard(f"share_{share}").iter_torch_batches(
            batch_size=config.global_batch_size // config.num_workers,
            collate_fn=MicroBatches(objective, first_step=state.step, seed=run.seed, share=share),
            prefetch_batches=2,
        )
        for share in shares_of(rank, num_workers, config.num_workers)
    ]
    for data_wait_s, batches_of_shares in _timed(zip(*shares, strict=True)):
        micro_batches = list(chain(*batches_of_shares))
        if not micro_batches:
            continue
        num_idle = idle_passes(rank, num_workers, config.num_workers, len(micro_batches))
        rate_factor = learning_rate_factor(state.step, run.num_steps, config)
        metrics = step.run(micro_batches, rate_factor, num_idle=num_idle) | {"data_wait_s": data_wait_s}
        state.progress["step"] += 1
        if reason := watch.look(metrics["loss"], metrics["grad_norm"]):
            save_offending_batch(run.run_dir, rank, state.step, micro_batches, reason)
            tracker.pause()
            return
        tracker.record(state.step, metrics)
        is_last = state.step == run.num_steps
        stopping = not is_last and should_stop()
        if stopping or (state.step % config.checkpoint_every_steps == 0 and not is_last):
            tracker.save()
            state.report(tracker.latest)
        elif tracker.has_news:
            ray.train.report(tracker.latest)
        if stopping:
            tracker.pause()
            return
    export_model(model, config, init, run.out_dir)
    tracker.finish(num_workers=num_workers)
    dist.barrier()


def _timed(items: Iterable) -> Iterator[tuple[float, Any]]:
    """Each item with the seconds that it had to be waited for."""
    started = time.monotonic()
    for item in items:
        yield time.monotonic() - started, item
        started = time.monotonic()
