"""What a killed training goes on from: trainable weights, optimiser and place in the run, one shard a worker.

Ray Train collects the shards of all workers in one folder, and counts a checkpoint only when every shard is there:
that is when it enters the folder's index, from which a restarted run reads. Old checkpoints are removed after that.
"""

import json
import logging
import tempfile

import ray.train
import torch.distributed.checkpoint as dcp
from ray.train import Checkpoint
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict
from torch.optim import Optimizer

from inbol_ray.store.local_copies import job_storage
from inbol_ray.store.storage import open_filesystem

INDEX = "checkpoint_manager_snapshot.json"
"""Ray Train's list of a run's complete checkpoints."""

logger = logging.getLogger(__name__)


class TrainingState:
    """Model, optimiser and plain values as one stateful object for torch.distributed.checkpoint.

    What is frozen is not saved (beside an adapter, all of the base model): the checkpoint that training started from has
    it. `progress` holds numbers that training counts itself: the `step` (optimiser steps done) and what it watches the
    loss by.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer, progress: dict[str, float]) -> None:
        self.model, self.optimizer = model, optimizer
        self.progress = {"step": 0, **progress}

    @property
    def step(self) -> int:
        return int(self.progress["step"])

    def state_dict(self) -> dict:
        model, optimizer = get_state_dict(
            self.model, self.optimizer, options=StateDictOptions(ignore_frozen_params=True)
        )
        return {"model": model, "optimizer": optimizer, "progress": self.progress}

    def load_state_dict(self, state: dict) -> None:
        set_state_dict(
            self.model,
            self.optimizer,
            model_state_dict=state["model"],
            optim_state_dict=state["optimizer"],
            options=StateDictOptions(ignore_frozen_params=True, strict=False),
        )
        self.progress = dict(state["progress"])

    def restore(self) -> None:
        """Load the last complete checkpoint of this run, where there is one."""
        if checkpoint := ray.train.get_checkpoint():
            with checkpoint.as_directory() as folder:
                dcp.load({"state": self}, checkpoint_id=folder)

    def report(self, metrics: dict) -> None:
        """Save a checkpoint and report it with `metrics`; every worker calls this after the same step."""
        with tempfile.TemporaryDirectory() as folder:
            dcp.save({"state": self}, checkpoint_id=folder)
            name = f"step_{self.step:07d}"
            ray.train.report(metrics, checkpoint=Checkpoint.from_directory(folder), checkpoint_dir_name=name)


def discard_torn_index(run_folder: str) -> None:
    """Remove an index that a crash cut off in the middle, which Ray Train refuses to start from; training starts over.

    Ray Train (2.60) writes it in place, a few hundred bytes at each checkpoint. `run_folder` is a path or `s3://` URI.
    """
    filesystem, index = open_filesystem(f"{run_folder}/{INDEX}", job_storage())
    try:
        with filesystem.open_input_file(index) as file:
            json.loads(file.read())
    except FileNotFoundError:
        return
    except ValueError:
        logger.warning("%s was cut off by a crash; training starts from its first step", index)
        filesystem.delete_file(index)
