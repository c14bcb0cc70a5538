"""LLaVA-1.5's shapes, and the shape that a LLaVA's config.json describes."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from inbol_ray.models.shape import ModelShape

LLAVA_15_7B = ModelShape(
    hidden=4096,
    layers=32,
    intermediate=11_008,
    heads=32,
    kv_heads=32,
    head_dim=128,
    vocabulary=32_064,
    vision_hidden=1024,
    vision_layers=24,
    vision_intermediate=4096,
    image_size=336,
    patch_size=14,
)
LLAVA_15_13B = replace(LLAVA_15_7B, hidden=5120, layers=40, intermediate=13_824, heads=40, kv_heads=40)
SHAPES = {"llava-1.5-7b": LLAVA_15_7B, "llava-1.5-13b": LLAVA_15_13B}


def read_shape(config: Mapping[str, Any]) -> ModelShape:
    """What config.json leaves out has transformers' defaults.

    Raises KeyError, TypeError, ValueError or AttributeError for contents that describe no shape.
    """
    text, vision = config["text_config"], config["vision_config"]
    heads, hidden = text.get("num_attention_heads", 32), text.get("hidden_size", 4096)
    return ModelShape(
        hidden=hidden,
        layers=text.get("num_hidden_layers", 32),
        intermediate=text.get("intermediate_size", 11_008),
        heads=heads,
        kv_heads=text.get("num_key_value_heads") or heads,
        head_dim=text.get("head_dim") or hidden // heads,
        vocabulary=text.get("vocab_size", 32_000),
        tied=bool(config.get("tie_word_embeddings", text.get("tie_word_embeddings", False))),
        vision_hidden=vision.get("hidden_size", 768),
        vision_layers=vision.get("num_hidden_layers", 12),
        vision_intermediate=vision.get("intermediate_size", 3072),
        image_size=vision.get("image_size", 224),
        patch_size=vision.get("patch_size", 32),
    )
