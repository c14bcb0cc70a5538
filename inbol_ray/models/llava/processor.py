"""What a LLaVA's processor and its model must agree on: how many tokens stand for an image.

transformers counts them from three fields of the processor, vLLM from the model's configuration.
"""

from transformers import AutoConfig, LlavaConfig, LlavaProcessor

from inbol_ray.errors import CheckpointError

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
    vision = config.vision_config
    values = (vision.patch_size, config.vision_feature_select_strategy, CLASS_TOKENS[vision.model_type])
    return dict(zip(FIELDS, values, strict=True))


def count_features(config: LlavaConfig) -> int:
    """Image features that a known vision tower hands to the language model, each in the place of a token."""
    vision = config.vision_config
    num_tokens = (vision.image_size // vision.patch_size) ** 2 + CLASS_TOKENS[vision.model_type]
    return num_tokens - (config.vision_feature_select_strategy == "default")
