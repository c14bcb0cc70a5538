"""Which model a run starts from, and how it is asked."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from inbol_ray.config.section import Section


class ToyBaseModel(Section):
    """Train a tiny LLaVA from scratch on the toy world."""

    kind: Literal["toyworld"] = "toyworld"
    vision_steps: PositiveInt = 900
    """Optimiser steps of the vision tower's own pretraining, which stands in for CLIP's."""
    vision_batch_size: PositiveInt = 64
    vision_learning_rate: PositiveFloat = 3e-3
    hidden_size: PositiveInt = 96
    num_layers: PositiveInt = 3
    vision_hidden_size: PositiveInt = 64
    vision_num_layers: PositiveInt = 3


class CheckpointBaseModel(Section):
    """Start from an existing LLaVA checkpoint in the hub's llava-hf layout."""

    kind: Literal["checkpoint"] = "checkpoint"
    path: str
    """Local folder, or a hub name such as `llava-hf/llava-1.5-7b-hf`. Only safetensors weights are read."""


SYSTEM_TEXTS = {
    "vicuna_v1": "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions.",
    "llava_v1": "A chat between a curious human and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the human's questions.",
}
"""LLaVA-1.5's own system texts (llava/conversation.py): `vicuna_v1` in its training and evaluation scripts, `llava_v1`
in its command line and demo."""

BaseModelConfig = Annotated[ToyBaseModel | CheckpointBaseModel, Field(discriminator="kind")]


class PromptConfig(Section):
    """Wording of the prompts; the templates are in `inbol_ray.method.prompts`."""

    system: Annotated[str, Field(min_length=1)] | None = None
    """Text before the first turn of every prompt, in training, sampling, evaluation and serving alike: your own, or
    `vicuna_v1` or `llava_v1` for LLaVA-1.5's. null leaves it out, as the template of the hub's llava-hf checkpoints."""
    answer_suffix: bool = True
    """Append LLaVA-1.5's answer instruction (single word or phrase / option's letter). It discourages refusal."""
    vizwiz_invitation: bool = True
    """Append LLaVA-1.5's VizWiz line too, which asks for 'Unanswerable' where the information is insufficient."""
    refusal_instruction: str = "If you cannot answer the question, reply: Sorry, I can't answer that."
    """Sentence added before the question in the refusal-prompt baseline. Wording: ours."""

    @field_validator("system")
    @classmethod
    def _whole_text(cls, system: str | None) -> str | None:
        """Names become texts here, so that what is recorded says all."""
        if system is not None and (system.strip() != system or "<image>" in system or "</s>" in system):
            raise ValueError("a system text neither starts nor ends with space, and holds no <image> and no </s>")
        return SYSTEM_TEXTS.get(system, system)
