"""What a training writes: the model that it leaves, and the resumable checkpoints until it ends."""

from inbol_ray.config.training import CHECKPOINTS_KEPT, TrainingConfig

LORA_SHARE_PER_RANK = 3.5e-4
"""Parameters that an adapter on the language model's linear layers adds for each rank, as a share of the model's;
LLaVA-1.5-7B's (13B: 2.9e-4)."""
TRAINED_WEIGHT_BYTES = 4
"""What trains is float32, and so are Adam's two moments of it."""


def training_bytes(
    method: TrainingConfig, num_parameters: float, num_trained: float | None = None, weight_bytes: int = 2
) -> tuple[int, int]:
    """(bytes that a training leaves, bytes that it needs besides until it ends).

    It leaves the merged model in the weights' own type and the adapter of a LoRA run. Until then there are resumable
    checkpoints of what trains and of its optimiser: those that are kept, and one that is being written. `num_trained`
    parameters train; where that is not known it is what the method suggests.
    """
    if num_trained is None:
        num_trained = num_parameters * (LORA_SHARE_PER_RANK * method.lora.rank if method.lora else 1)
    left = num_parameters * weight_bytes + (num_trained * TRAINED_WEIGHT_BYTES if method.lora else 0)
    return int(left), int((CHECKPOINTS_KEPT + 1) * 3 * TRAINED_WEIGHT_BYTES * num_trained)
