"""One optimiser step over all workers' micro-batches, and its learning rate. Knows nothing of Ray.

micro-batches of this worker -> summed gradients -> one update -> metrics over all workers
"""

import math
import time
from collections import defaultdict

import torch
import torch.distributed as dist
from torch import nn
from torch.optim import AdamW, Optimizer

from inbol_ray.config.training import TrainingConfig
from inbol_ray.rows import KNOWLEDGE_CLASSES
from inbol_ray.training.fsdp import parameter_groups
from inbol_ray.training.objectives import Batch, Objective, Reference, move_to
from inbol_ray.training.utilisation import ModelFlops, peak_flops, peak_memory_bytes

SUMS = (*(f"samples_{name}" for name in KNOWLEDGE_CLASSES), "tokens")
"""Metrics that a report adds up over its steps; of the others it gives the mean."""


def learning_rate_factor(step: int, num_steps: int, config: TrainingConfig) -> float:
    """Share of the peak: warm-up, hold, then linear or cosine decay to the final share. `step` counts from 0."""
    warmup = min(1.0, (step + 1) / max(1, config.warmup_steps))
    done = max(0.0, step / max(1, num_steps) - config.stable_ratio) / (1 - config.stable_ratio)
    decay = 1 - done if config.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
    final = config.min_lr_ratio
    return warmup * (final + (1 - final) * decay)


def build_optimizer(model: nn.Module, config: TrainingConfig) -> Optimizer:
    return AdamW(
        parameter_groups(model, config),
        lr=config.learning_rate,
        betas=(0.9, config.adam_beta2),
        weight_decay=config.weight_decay,
        foreach=True,
    )


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
        # A reference that is columns of the data costs nothing here.
        computes_reference = reference is not None and getattr(config, "reference", None) == "live"
        self._flops = ModelFlops(model, has_reference=computes_reference)
        self._peak_flops = peak_flops(self.device.type, getattr(torch, config.dtype))

    def run(self, micro_batches: list[Batch], rate_factor: float, *, num_idle: int = 0) -> dict[str, float]:
        """Update the weights; returns metrics over all workers. No update where loss or gradient is not finite.

        `tflops_per_s` (10^12 operations that the method needs, a second and worker), `utilisation` (their share of the
        device's measured peak) and `padding_rate` (share of computed columns that hold nothing) tell how busy it is.

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
        columns, flops = values["columns"][0], values["flops"][0] / dist.get_world_size()
        result = {"loss": loss_sum / float(normaliser), "grad_norm": grad_norm, **means, **counts}
        if math.isfinite(result["loss"]) and math.isfinite(grad_norm):
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        step_s = time.monotonic() - started
        return result | {
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "step_s": step_s,
            "tokens_per_s": counts["tokens"] / step_s,
            "padding_rate": 1 - counts["tokens"] / columns,
            "tflops_per_s": flops / step_s / 1e12,
            "utilisation": flops / step_s / self._peak_flops,
            "peak_memory_bytes": peak_memory_bytes(self.device),
        }

    def _forward(self, batch: Batch) -> tuple[torch.Tensor, dict]:
        if "dropout_seed" in batch:
            torch.manual_seed(batch["dropout_seed"])
        return self.objective.loss(self.model, move_to(batch, self.device), self.reference)

    def _counts(self, batch: Batch) -> dict[str, tuple[float, float]]:
        size = self.objective.size(batch)
        counts = {f"samples_{name}": batch["knowledge"].count(name) for name in KNOWLEDGE_CLASSES}
        counts |= {"tokens": size.num_tokens, "columns": size.num_columns, "flops": self._flops.of(size)}
        return {name: (float(count), 0.0) for name, count in counts.items()}

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
