"""How busy a device is: the operations that a batch needs, and how many the device can do.

BatchSize of each micro-batch -> model FLOPs of a step -> FLOP/s, and their share of the device's measured peak

What counts is what the method needs: policy forward, its backward through activations, gradients of the weights that
train, the reference's forward, and the vision tower's forward once. Padding, recomputed activations and gradients of
frozen weights do not, so more of them shows as a lower utilisation.
"""

import resource
import sys
import time
from dataclasses import dataclass
from functools import cache

import torch
from torch import nn

from inbol_ray.models.parts import base_of, parts_of

_PEAK_SIZE = {"cuda": 8192, "cpu": 512}
_PEAK_ROUNDS = 5


@dataclass(frozen=True)
class BatchSize:
    """What of a batch costs operations."""

    num_tokens: int
    """Padding left out."""
    num_columns: int
    """With padding: what is computed."""
    num_attended: int
    """Pairs of a token and one that it attends to, itself included."""
    num_predictors: int
    """Tokens whose logits are needed."""
    num_images: int


class ModelFlops:
    """Operations that a model's training needs, from its linear layers; build it before or after sharding.

    `has_reference`: reference log-probabilities are computed in every step. An upper bound by less than a layer: where
    only adapters train, no gradient flows through the first layer's inputs.
    """

    def __init__(self, model: nn.Module, *, has_reference: bool) -> None:
        base, parts = base_of(model), parts_of(model)
        text, vision = base.config.text_config, base.config.vision_config
        references = int(has_reference)
        layers, head = _Weights(parts.language_model), _Weights(parts.head)
        self.a_token = 4 * layers.all + 2 * layers.trained + 2 * references * layers.base
        self.a_predictor = (4 + 2 * references) * head.all + 2 * head.trained
        query_width = text.num_attention_heads * parts.text_layers[0].self_attn.head_dim
        self.an_attended_pair = 4 * text.num_hidden_layers * query_width * (3 + references)
        tower, projector = _Weights(parts.vision_tower), _Weights(parts.projector)
        patches = (vision.image_size // vision.patch_size) ** 2
        attended = 4 * vision.num_hidden_layers * vision.hidden_size * (patches + 1) ** 2
        forward = 2 * (tower.linear * (patches + 1) + tower.convolved * patches) + attended
        # The projector sees the patches, not the class token.
        self.an_image = forward * (3 if tower.trained else 1) + patches * (6 * projector.trained or 2 * projector.all)

    def of(self, size: BatchSize) -> float:
        """Operations of one batch."""
        return float(
            self.a_token * size.num_tokens
            + self.a_predictor * size.num_predictors
            + self.an_attended_pair * size.num_attended
            + self.an_image * size.num_images
        )


class _Weights:
    """Numbers of weights that each position is multiplied with: all, those without adapters, and those that train."""

    def __init__(self, module: nn.Module) -> None:
        layers = {name: layer for name, layer in module.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)}
        sizes = {name: layer.weight.numel() for name, layer in layers.items()}
        self.convolved = sum(sizes[name] for name, layer in layers.items() if isinstance(layer, nn.Conv2d))
        self.linear = sum(sizes.values()) - self.convolved
        self.all = self.linear + self.convolved
        self.base = sum(size for name, size in sizes.items() if "lora_" not in name)
        self.trained = sum(sizes[name] for name, layer in layers.items() if layer.weight.requires_grad)


@cache
def peak_flops(device_type: str, dtype: torch.dtype) -> float:
    """Operations a second of a large matrix product, the best of a few: measured, 20 ms on a GPU and on a CPU core."""
    size = _PEAK_SIZE[device_type]
    left, right = (torch.randn(size, size, device=device_type, dtype=dtype) for _ in range(2))
    seconds = []
    for _ in range(_PEAK_ROUNDS):
        _finish(device_type)
        started = time.perf_counter()
        torch.mm(left, right)
        _finish(device_type)
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / min(seconds)


def _finish(device_type: str) -> None:
    if device_type == "cuda":
        torch.cuda.synchronize()


def peak_memory_bytes(device: torch.device) -> int:
    """Most memory that this worker has used: of its GPU, or of the process on CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
