"""What the training benchmark trains on: a LLaVA-1.5 with random weights, its samples, and their token counts."""

from dataclasses import dataclass
from pathlib import Path

LEARNING_RATE = 1e-3
BETA = 0.1


@dataclass(frozen=True)
class Shape:
    """Sizes of a LLaVA with 576 image tokens, and how it is trained. `vocab_size` null: the tokenizer's."""

    hidden_size: int
    intermediate_size: int
    num_layers: int
    head_size: int
    vision_hidden_size: int
    vision_num_layers: int
    rows_per_step: int
    vocab_size: int | None = None
    dtype: str = "float32"
    gradient_checkpointing: bool = False
    image_px: int = 336
    patch_px: int = 14

    @property
    def num_image_tokens(self) -> int:
        return (self.image_px // self.patch_px) ** 2


SHAPES = {
    # LLaVA-1.5 in small, with a vision tower of a few percent of the language model's size. Wide rather than deep: in a
    # narrow model attention costs far more beside the linear layers than in LLaVA-1.5-7B.
    "small": Shape(
        hidden_size=512,
        intermediate_size=1376,
        num_layers=3,
        head_size=64,
        vision_hidden_size=128,
        vision_num_layers=3,
        rows_per_step=2,
    ),
    "llava-1.5-7b": Shape(
        hidden_size=4096,
        intermediate_size=11008,
        num_layers=32,
        head_size=128,
        vision_hidden_size=1024,
        vision_num_layers=24,
        rows_per_step=4,
        vocab_size=32064,
        dtype="bfloat16",
        gradient_checkpointing=True,
    ),
}


def build_processor(shape: Shape):
    """LLaVA's processor for the shape's images, with the toy world's tokenizer."""
    from transformers import CLIPImageProcessor, LlavaProcessor

    from inbol_ray.config.model import PromptConfig
    from inbol_ray.models import DEFAULT_FAMILY
    from inbol_ray.toyworld.base_model import build_tokenizer

    return LlavaProcessor(
        image_processor=CLIPImageProcessor(
            size={"shortest_edge": shape.image_px}, crop_size={"height": shape.image_px, "width": shape.image_px}
        ),
        tokenizer=build_tokenizer(PromptConfig()),
        patch_size=shape.patch_px,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=DEFAULT_FAMILY.chat.template,
    )


def build_model(shape: Shape, tokenizer, device: str = "cpu"):
    """A random LLaVA of the shape's type on `device`; the same weights at each call there."""
    import torch
    from transformers import AutoModelForImageTextToText, CLIPVisionConfig, LlamaConfig, LlavaConfig

    vision = CLIPVisionConfig(
        hidden_size=shape.vision_hidden_size,
        intermediate_size=4 * shape.vision_hidden_size,
        num_hidden_layers=shape.vision_num_layers,
        num_attention_heads=shape.vision_hidden_size // 64,
        image_size=shape.image_px,
        patch_size=shape.patch_px,
    )
    text = LlamaConfig(
        vocab_size=shape.vocab_size or len(tokenizer),
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.num_layers,
        num_attention_heads=shape.hidden_size // shape.head_size,
        num_key_value_heads=shape.hidden_size // shape.head_size,
        max_position_embeddings=2048,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    image_id = tokenizer.convert_tokens_to_ids("<image>")
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=image_id)
    torch.manual_seed(0)
    with torch.device(device):
        return AutoModelForImageTextToText.from_config(config, dtype=getattr(torch, shape.dtype))


def write_model(folder: Path, shape: Shape) -> dict[str, int]:
    """Save `build_model` with its processor; returns its parameter counts."""
    from inbol_ray.toyworld.base_model import save_new_model

    processor = build_processor(shape)
    model = build_model(shape, processor.tokenizer)
    save_new_model(model, processor, folder)
    return {
        "language_model": sum(parameter.numel() for parameter in model.model.language_model.parameters()),
        "vision_tower": sum(parameter.numel() for parameter in model.model.vision_tower.parameters()),
    }


def write_samples(folder: Path, kind: str, count: int) -> list[dict]:
    """PREFERENCE_SET rows, Mixed (three responses, two pairs), Known (two responses, one pair: `pair`), or Known, Mixed
    and Unknown in turns (`all`).

    Prompts of about 24 text tokens and responses of 8 to 20, end token included. Pairs weigh alike (the paper's
    ablation 3), which is what TRL's mean over pairs computes.
    """
    import numpy as np

    from inbol_ray.method.preference_pairs import pair_weights
    from inbol_ray.rows import KNOWLEDGE_CLASSES
    from inbol_ray.toyworld.scenes import COLOUR_NAMES, SceneStyle, draw_scene, encode_png, render_scene

    rng = np.random.default_rng(0)

    def words(count: int) -> str:
        return " ".join(rng.choice(COLOUR_NAMES, count))

    classes = {"mixed": ("mixed",), "pair": ("known",), "all": KNOWLEDGE_CLASSES}[kind]
    rows = []
    for index in range(count):
        knowledge = classes[index % len(classes)]
        image = folder / f"{index}.png"
        image.write_bytes(encode_png(render_scene(draw_scene(rng, SceneStyle()))))
        rows.append(
            {
                "id": str(index),
                "images": [str(image)],
                "user": words(16),
                "correct": words(7 + 6 * (index % 2)) if knowledge != "unknown" else None,
                "incorrect": words(13) if knowledge != "known" else None,
                "refusal": words(19 - 6 * (index % 2)),
                "knowledge": knowledge,
                **pair_weights(knowledge, 0.5, "unweighted"),
            }
        )
    return rows


def training_config(shape: Shape, device: str):
    """CA-DPO on one worker, LoRA."""
    from inbol_ray.config.training import CaDpoConfig, LoraSettings

    return CaDpoConfig(
        init_from="original",
        learning_rate=LEARNING_RATE,
        min_lr_ratio=1.0,
        warmup_steps=0,
        beta=BETA,
        global_batch_size=shape.rows_per_step,
        num_workers=1,
        num_gpus_per_worker=int(device == "cuda"),
        dtype=shape.dtype,
        gradient_checkpointing=shape.gradient_checkpointing,
        lora=LoraSettings(rank=16, alpha=32),
    )


def bound(rows: list[dict], checkpoint: str, parameters: dict[str, int], shape: Shape) -> dict[str, float]:
    """Speed-up over TRL that token counts allow: language model alone, and with the vision tower.

    Of each sequence TRL runs policy forward, policy backward and reference forward, like us, so the language model's
    work is in proportion to its tokens. The frozen tower runs forward only: eight times a Mixed sample in TRL (two
    responses of two pairs, policy and reference), once here. Attention's own cost is left out.
    """
    from inbol_ray.models import DEFAULT_FAMILY
    from inbol_ray.models.loading import load_processor
    from inbol_ray.rows import PAIRS, RESPONSES
    from inbol_ray.training.objectives import WEIGHT_COLUMNS, build_objective

    objective = build_objective(training_config(shape, "cpu"), load_processor(checkpoint), DEFAULT_FAMILY)
    trl_tokens = trl_images = 0
    for row in rows:
        prefix, responses = objective.encode(row)
        lengths = dict(zip(RESPONSES, map(len, responses), strict=True))
        for column, pair in zip(WEIGHT_COLUMNS, PAIRS, strict=True):
            if row[column] > 0:
                trl_tokens += sum(len(prefix) + lengths[name] for name in pair)
                trl_images += 4
    tokens = sum(map(objective.row_length, rows))
    image_tokens = objective.encoder.num_image_tokens + 1
    # Per token: forward 2 operations a weight, LoRA's backward 2 (activations only), reference forward 2; with activation
    # checkpointing 2 more.
    operations = 8 if shape.gradient_checkpointing else 6
    language, vision = operations * parameters["language_model"], 2 * parameters["vision_tower"] * image_tokens
    return {
        "tokens_a_row": tokens / len(rows),
        "token_bound": trl_tokens / tokens,
        "bound_with_vision": (trl_tokens * language + trl_images * vision) / (tokens * language + len(rows) * vision),
    }
