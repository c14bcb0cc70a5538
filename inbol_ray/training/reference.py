"""Reference log-probabilities of a training step: from the data's columns, or from a reference model in every step."""

import torch
from torch import nn

from inbol_ray.config.training import CaDpoConfig, MethodConfig
from inbol_ray.models.loading import load_model
from inbol_ray.training.fsdp import shard
from inbol_ray.training.objectives import Batch, ImageFeatures, Reference, response_logps


def build_reference(model: nn.Module, init_checkpoint: str, config: MethodConfig) -> Reference | None:
    """How training of `model` gets reference log-probabilities; None for an objective that has no reference.

    From the data's columns where they were computed beforehand, else from the packed pass itself: with the adapter
    off, or through a frozen second model in full fine-tuning.
    """
    if not isinstance(config, CaDpoConfig):
        return None
    if config.reference == "precomputed":
        return lambda batch, features: batch["reference_logps"]
    if config.lora is None:
        frozen = shard(load_model(init_checkpoint).requires_grad_(False), config).eval()
        return lambda batch, features: response_logps(frozen, batch, features)

    def adapter_off(batch: Batch, features: ImageFeatures | None) -> torch.Tensor:
        with model.disable_adapter():
            return response_logps(model, batch, features)

    return adapter_off
