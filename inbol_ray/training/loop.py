"""The training loop that every Ray Train worker runs.

one step's rows of this worker's shares -> micro-batches -> summed gradients -> one optimiser step -> metrics, checkpoint
"""

import math
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import ray.train
import torch
import torch.distributed as dist
from pydantic import TypeAdapter
from torch import nn
from torch.optim import AdamW, Optimizer

from inbol_ray.config.training import MethodConfig, TrackingConfig, TrainingConfig
from inbol_ray.local_copies import local_copy
from inbol_ray.rows import KNOWLEDGE_CLASSES
from inbol_ray.training.batches import MicroBatches, idle_passes, shares_of
from inbol_ray.training.checkpoint import TrainingState
from inbol_ray.training.divergence import LossWatch, save_offending_batch
from inbol_ray.training.export import export_model
from inbol_ray.training.fsdp import load_processor, parameter_groups, prepare_model, shard
from inbol_ray.training.objectives import Batch, Objective, Reference, build_objective, move_to
from inbol_ray.training.reference import build_reference
from inbol_ray.training.stopping import StopSignal
from inbol_ray.training.tracking import SUMS, Tracker, peak_memory_bytes

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


def learning_rate_factor(step: int, num_steps: int, config: TrainingConfig) -> float:
    """Share of the peak: warm-up, hold, then linear or cosine decay to the final share. `step` counts from 0."""
    warmup = min(1.0, (step + 1) / max(1, config.warmup_steps))
    done = max(0.0, step / max(1, num_steps) - config.hold_rate) / (1 - config.hold_rate)
    decay = 1 - done if config.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
    final = config.final_learning_rate_rate
    return warmup * (final + (1 - final) * decay)


def build_optimizer(model: nn.Module, config: TrainingConfig) -> Optimizer:
    return AdamW(
        parameter_groups(model, config),
        lr=config.learning_rate,
        betas=(0.9, config.adam_beta2),
        weight_decay=config.weight_decay,
        foreach=True,
    )


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
    objective = build_objective(config, load_processor(init), run.system)
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
            tracker.save()
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


class OptimizerStep:
    """One optimiser step over all workers' micro-batches.

    The loss is a mean over the whole global batch: each micro-batch adds its sum, divided by the number of units in
    all of them, so that gradients do not depend on how the batch is split.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        reference: Reference | None,
        optimizer: Optimizer,
        config: TrainingConfig,
    ) -> None:
        self.model, self.objective, self.reference = model, objective, reference
        self.optimizer, self.config = optimizer, config
        self.device = next(model.parameters()).device

    def run(self, micro_batches: list[Batch], rate_factor: float, *, num_idle: int = 0) -> dict[str, float]:
        """Update the weights; returns metrics over all workers. No update where loss or gradient is not finite.

        All workers must run as many passes: `num_idle` is the number of those that shall have no effect.
        """
        started = time.monotonic()
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * rate_factor
        normaliser = torch.tensor(sum(map(self.objective.normaliser, micro_batches)), device=self.device)
        dist.all_reduce(normaliser)
        totals: dict[str, list] = defaultdict(lambda: [0.0, 0.0])
        for batch in micro_batches:
            loss, metrics = self._forward(batch)
            # FSDP averages gradients over workers; the loss is a sum over all of them.
            (loss * (dist.get_world_size() / normaliser)).backward()
            for name, (value, count) in {"loss": (loss.detach(), 0.0), **metrics, **self._counts(batch)}.items():
                totals[name][0] += value
                totals[name][1] += count
        for _ in range(num_idle):
            loss, _ = self._forward(micro_batches[0])
            (loss * 0).backward()
        grad_norm = self._clip()
        values = self._sum_over_workers(totals)
        loss_sum, _ = values.pop("loss")
        means = {name: total / count for name, (total, count) in values.items() if count}
        counts = {name: total for name, (total, count) in values.items() if name in SUMS}
        result = {"loss": loss_sum / float(normaliser), "grad_norm": grad_norm, **means, **counts}
        if math.isfinite(result["loss"]) and math.isfinite(grad_norm):
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        step_s = time.monotonic() - started
        return result | {
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "step_s": step_s,
            "tokens_per_s": counts["tokens"] / step_s,
            "peak_memory_bytes": peak_memory_bytes(self.device),
        }

    def _forward(self, batch: Batch) -> tuple[torch.Tensor, dict]:
        if "dropout_seed" in batch:
            torch.manual_seed(batch["dropout_seed"])
        return self.objective.loss(self.model, move_to(batch, self.device), self.reference)

    def _counts(self, batch: Batch) -> dict[str, tuple[float, float]]:
        samples = {f"samples_{name}": (float(batch["knowledge"].count(name)), 0.0) for name in KNOWLEDGE_CLASSES}
        return samples | {"tokens": (float(self.objective.num_tokens(batch)), 0.0)}

    def _clip(self) -> float:
        trainable = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        grad_norm = nn.utils.clip_grad_norm_(trainable, self.config.max_grad_norm)
        return float(grad_norm.full_tensor() if hasattr(grad_norm, "full_tensor") else grad_norm)

    def _sum_over_workers(self, totals: dict[str, list]) -> dict[str, tuple[float, float]]:
        flat = [
            torch.as_tensor(value, dtype=torch.float64, device=self.device)
            for pair in totals.values()
            for value in pair
        ]
        stacked = torch.stack(flat)
        dist.all_reduce(stacked)
        values = stacked.tolist()
        return dict(zip(totals, zip(values[::2], values[1::2], strict=True), strict=True))
