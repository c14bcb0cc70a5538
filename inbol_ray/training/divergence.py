"""Stops a training whose loss has gone wrong, and keeps the batch at which it did.

All workers see the same loss and gradient norm, so all stop after the same step, without an exception: Ray Train would
take one for a failure to recover from, and run into the same batch again.
"""

import io
import json
import math

import pyarrow.fs as pafs
import torch

from inbol_ray.errors import TrainingDivergedError
from inbol_ray.store.local_copies import job_storage
from inbol_ray.store.storage import create_folder, delete_folder, open_filesystem, write_whole
from inbol_ray.training.objectives import Batch

SMOOTHING = 0.9
"""Weight of the past in the moving average of the loss."""


class LossWatch:
    """Judges each step's loss. Its memory is part of `progress`, so that a resumed run judges alike."""

    START = {"first_loss": math.nan, "loss_average": math.nan, "lowest_average": math.inf}
    """Keys that `progress` needs at the start of a training."""

    def __init__(self, divergence_factor: float | None, progress: dict[str, float]) -> None:
        self.divergence_factor, self.progress = divergence_factor, progress

    def look(self, loss: float, grad_norm: float) -> str | None:
        """Why training must stop after a step with this loss, or None."""
        if not math.isfinite(loss) or not math.isfinite(grad_norm):
            return f"loss is {loss} and the gradient's norm is {grad_norm}"
        memory = self.progress
        if math.isnan(memory["first_loss"]):
            memory["first_loss"] = memory["loss_average"] = loss
        average = SMOOTHING * memory["loss_average"] + (1 - SMOOTHING) * loss
        lowest = min(memory["lowest_average"], average)
        memory |= {"loss_average": average, "lowest_average": lowest}
        if self.divergence_factor is None or average <= max(memory["first_loss"], self.divergence_factor * lowest):
            return None
        return (
            f"the loss's moving average is {average:.4g}: above its start ({memory['first_loss']:.4g}) and above "
            f"{self.divergence_factor} times its lowest ({lowest:.4g})"
        )


def _folder(run_dir: str) -> str:
    return f"{run_dir}/diverged"


def save_offending_batch(run_dir: str, rank: int, step: int, micro_batches: list[Batch], reason: str) -> None:
    """Keep this worker's part of the batch (`torch.load` reads it), and the reason, in a path or `s3://` URI."""
    filesystem, folder = open_filesystem(_folder(run_dir), job_storage())
    create_folder(filesystem, folder)
    batch = io.BytesIO()
    torch.save(micro_batches, batch)
    write_whole(filesystem, f"{folder}/worker_{rank}.pt", batch.getvalue())
    ids = [row_id for batch in micro_batches for row_id in batch["ids"]]
    report = json.dumps({"step": step, "reason": reason, "ids": ids}, indent=1)
    write_whole(filesystem, f"{folder}/worker_{rank}.json", report.encode())


def forget_divergence(run_dir: str) -> None:
    """Remove what an earlier attempt left."""
    delete_folder(_folder(run_dir), job_storage())


def raise_if_diverged(name: str, run_dir: str) -> None:
    """Raise TrainingDivergedError where a worker has saved an offending batch."""
    filesystem, folder = open_filesystem(_folder(run_dir), job_storage())
    infos = filesystem.get_file_info(pafs.FileSelector(folder, allow_not_found=True))
    reports = []
    for path in sorted(info.path for info in infos if info.extension == "json"):
        with filesystem.open_input_file(path) as file:
            reports.append(json.loads(file.read()))
    if reports:
        ids = [row_id for report in reports for row_id in report["ids"]]
        shown = ", ".join(ids[:5]) + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")
        raise TrainingDivergedError(
            f"{name}: stopped after step {reports[0]['step']}: {reports[0]['reason']}. The batch ({shown}) is in "
            f"{_folder(run_dir)}; look at it, or lower learning_rate or max_grad_norm"
        )
