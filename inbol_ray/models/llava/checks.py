"""What only a LLaVA's checkpoint can have wrong: its own layout, other towers, image tokens, tensor names."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from inbol_ray.errors import CheckpointError
from inbol_ray.models.llava.layout import is_original_layout
from inbol_ray.models.llava.processor import CLASS_TOKENS, count_features, count_image_tokens, processor_fields

TOWER, TOWER_IN_VLLM = "vision_tower.", "vision_tower.vision_model."


def check_config(config: Mapping[str, Any], path: Path) -> None:
    """Raise CheckpointError for a LLaVA that this project cannot sample and train."""
    if is_original_layout(config):
        raise CheckpointError(
            f"{path}: found a checkpoint in LLaVA's own layout (LlavaLlamaForCausalLM), expected the hub's "
            "(LlavaForConditionalGeneration); take its conversion, llava-hf/llava-1.5-7b-hf or -13b-hf, or convert your "
            "own with transformers/models/llava/convert_llava_weights_to_hf.py"
        )
    for part in ("text_config", "vision_config"):
        if not isinstance(config.get(part), dict):
            raise CheckpointError(f"{path}: {part} is missing; expected that of a llava-hf checkpoint: save it again")
    tower = config["vision_config"].get("model_type")
    if tower not in CLASS_TOKENS:
        raise CheckpointError(
            f"{path}: vision_config.model_type is {tower!r}, expected one of {', '.join(CLASS_TOKENS)}; choose a "
            "checkpoint with such a vision tower"
        )


def image_problems(folder: Path, processor: Any, config: Any) -> Iterator[str]:
    """One line for each way in which the processor's images do not fit the vision tower of `config` (LlavaConfig)."""
    path, side = folder / "processor_config.json", config.vision_config.image_size
    pixels = processor.image_processor(images=Image.new("RGB", (64, 48)), return_tensors="pt")["pixel_values"]
    if tuple(pixels.shape[-2:]) != (side, side):
        yield (
            f"{path}: the image processor makes pictures of {pixels.shape[-1]} x {pixels.shape[-2]} pixels, but the "
            f"vision tower takes {side} x {side}; set crop_size and size to vision_config.image_size"
        )
        return
    found, expected = count_image_tokens(processor), count_features(config)
    if found != expected:
        wanted = processor_fields(config)
        stated = {name: getattr(processor, name) for name in wanted}
        yield (
            f"{path}: an image becomes {found} tokens ({_fields(stated)}), but the vision tower of config.json makes "
            f"{expected} features of it; set {_fields(wanted)}"
        )


def tensor_name_problem(names: Iterable[str]) -> str | None:
    """What is wrong with the names of the weights: vLLM reads the hub's older ones alone."""
    foreign = [name for name in names if TOWER in name and TOWER_IN_VLLM not in name]
    if not foreign:
        return None
    return (
        f"{foreign[0]} is a name that vLLM does not read, expected {TOWER_IN_VLLM}* as in the hub's layout; rename the "
        "tensors, then load and save the model once with transformers"
    )


def _fields(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items())
