"""The two layouts in which LLaVA-1.5 is found."""

from collections.abc import Mapping
from typing import Any


def is_original_layout(config: Mapping[str, Any]) -> bool:
    """Whether a config.json is that of LLaVA's own code (haotian-liu/LLaVA), not of its conversion for transformers."""
    names = config.get("architectures") or []
    return "LlavaLlamaForCausalLM" in names or config.get("model_type") == "llava_llama" or "mm_vision_tower" in config
