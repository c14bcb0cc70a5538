"""What a LLaVA's processor and its model must agree on: how many tokens stand for an image; and its files in an export.

transformers counts them from three fields of the processor, vLLM from the model's configuration.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from transformers import AutoConfig, AutoImageProcessor, LlavaConfig, LlavaImageProcessor, LlavaProcessor

from inbol_ray.errors import CheckpointError
from inbol_ray.models.llava.chat import IMAGE_TOKEN

FIELDS = ("patch_size", "vision_feature_select_strategy", "num_additional_image_tokens")
"""Of LlavaProcessor, that the model of its configuration decides."""
CLASS_TOKENS = {"clip_vision_model": 1, "siglip_vision_model": 0}
"""Vision towers by model_type, and the tokens that each puts out beside those of the patches."""


def complete_processor(processor: LlavaProcessor, checkpoint: str) -> None:
    """Take the fields that the processor's files lack from config.json, as vLLM does. Raises CheckpointError.

    transformers has no such default: without a patch size it ends in a TypeError at the first image, and without the
    other fields it counts one token too few.
    """
    stated, _ = LlavaProcessor.get_processor_dict(checkpoint)
    missing = [name for name in FIELDS if stated.get(name) is None]
    if not missing:
        return
    config = AutoConfig.from_pretrained(checkpoint, trust_remote_code=False)
    tower = getattr(getattr(config, "vision_config", None), "model_type", None)
    if tower not in CLASS_TOKENS:
        raise CheckpointError(
            f"{checkpoint}/processor_config.json: {', '.join(missing)} missing, and config.json does not tell them "
            f"(vision_config.model_type is {tower!r}; known: {', '.join(CLASS_TOKENS)}); add them"
        )
    fields = processor_fields(config)
    for name in missing:
        setattr(processor, name, fields[name])


def processor_fields(config: LlavaConfig) -> dict[str, int | str]:
    """LlavaProcessor's fields as the model of `config`, with a known vision tower, needs them."""
    vision: Any = config.vision_config
    values = (vision.patch_size, config.vision_feature_select_strategy, CLASS_TOKENS[vision.model_type])
    return dict(zip(FIELDS, values, strict=True))


def count_features(config: LlavaConfig) -> int:
    """Image features that a known vision tower hands to the language model, each in the place of a token."""
    vision: Any = config.vision_config
    num_tokens = (vision.image_size // vision.patch_size) ** 2 + CLASS_TOKENS[vision.model_type]
    return num_tokens - (config.vision_feature_select_strategy == "default")


def count_image_tokens(processor: LlavaProcessor) -> int:
    """Image tokens that an image of any size occupies, asked from the processor itself (LLaVA-1.5: 576)."""
    ids = processor(images=Image.new("RGB", (64, 64)), text=IMAGE_TOKEN).input_ids[0]
    return list(ids).count(processor.tokenizer.convert_tokens_to_ids(IMAGE_TOKEN))


def pad_in_file(folder: Path) -> None:
    """Change the image processor of a folder into transformers' LlavaImageProcessor with `do_pad`.

    Those of the hub's llava-hf checkpoints resize the short side and cut off what is then outside the middle
    (transformers issue 33175), so plain transformers and plain vLLM would show a model less than it was trained on.
    """
    cropping = AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)
    settings = cropping.to_dict()
    del settings["image_processor_type"]
    # A processor without a centre crop does not say so, and LlavaImageProcessor crops by default.
    settings |= {"do_center_crop": bool(settings.get("do_center_crop")), "do_pad": True}
    padding = json.loads(LlavaImageProcessor(**settings).to_json_string())
    # transformers 5 keeps its settings in the processor's file, which then goes before an older separate one.
    path = folder / "processor_config.json"
    whole = json.loads(path.read_text()) if path.exists() else {}
    if "image_processor" in whole:
        whole["image_processor"] = padding
    else:
        path, whole = folder / "preprocessor_config.json", padding
    path.write_text(json.dumps(whole, indent=2, sort_keys=True) + "\n")


def complete_file(folder: Path, load: Callable[[], LlavaProcessor]) -> None:
    """Write the fields that the file lacks, as `load` has them: plain transformers, unlike vLLM, reads no config.json."""
    path = folder / "processor_config.json"
    whole = json.loads(path.read_text()) if path.exists() else {}
    if all(whole.get(name) is not None for name in FIELDS):
        return
    processor = load()
    whole |= {name: getattr(processor, name) for name in FIELDS} | {"processor_class": type(processor).__name__}
    path.write_text(json.dumps(whole, indent=2, sort_keys=True) + "\n")
