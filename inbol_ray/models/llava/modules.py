"""Where LLaVA-1.5 has its parts, and which of them no output depends on."""

from __future__ import annotations

from typing import Any

import numpy as np

from inbol_ray.models.family import ModulePaths

PATHS = ModulePaths(
    vision_tower="model.vision_tower",
    projector="model.multi_modal_projector",
    language_model="model.language_model",
    head="lm_head",
    vision_layers="model.vision_tower.encoder.layers",
    text_layers="model.language_model.layers",
)


def freeze_unused_layers(model: Any) -> None:
    """Freeze what lies behind the selected vision feature: no gradient comes there, so no optimiser state either.

    Resuming would miss that state (LLaVA-1.5 reads the last layer but one).
    """
    tower, selected = model.model.vision_tower, model.config.vision_feature_layer
    tower.post_layernorm.requires_grad_(False)
    layers = tower.encoder.layers
    # Feature i is the output of layer i - 1 (0: the embeddings); a negative one counts from the last layer's output.
    used = max(index if index >= 0 else len(layers) + 1 + index for index in np.atleast_1d(selected))
    layers[used:].requires_grad_(False)
