"""LLaVA-1.5 in the hub's llava-hf layout (`LlavaForConditionalGeneration`)."""

from inbol_ray.models.llava.family import LLAVA

__all__ = ["LLAVA"]
