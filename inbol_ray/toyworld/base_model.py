"""A tiny LLaVA of its own: tokenizer, processor, weights, and the pretraining of its vision tower.

The folder it writes has the hub's llava-hf layout, so transformers and vLLM load it like LLaVA-1.5.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import nn
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaImageProcessor,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)
from transformers.conversion_mapping import get_model_conversion_mapping

from inbol_ray.config.model import PromptConfig, ToyBaseModel
from inbol_ray.method import prompts
from inbol_ray.models.llava import LLAVA
from inbol_ray.toyworld import questions, scenes
from inbol_ray.toyworld.instruct import CAPTION_PROMPT
from inbol_ray.toyworld.scenes import IMAGE_PX, NUM_CELLS
from inbol_ray.toyworld.vision_data import CREATURE_CELL, IGNORED, NUM_BITS, NUM_COLOURS, NUM_SHAPE_CLASSES

SPECIAL_TOKENS = ("<unk>", "<s>", "</s>", "<pad>", "<image>")
MAX_POSITIONS = 512


def save_new_model(model: LlavaForConditionalGeneration, processor: LlavaProcessor, path: Path) -> None:
    """Save a model built from a config, in the hub's key layout.

    transformers 5 only writes the hub's names for models that were loaded from them; vLLM reads no others.
    """
    model._weight_conversions = get_model_conversion_mapping(model, add_legacy=False)
    model.save_pretrained(path)
    processor.save_pretrained(path)


def build_processor(prompt_config: PromptConfig) -> LlavaProcessor:
    mean = [value / 255 for value in (127.5, 127.5, 127.5)]
    image_processor = LlavaImageProcessor(
        do_pad=True,
        size={"shortest_edge": IMAGE_PX},
        crop_size={"height": IMAGE_PX, "width": IMAGE_PX},
        image_mean=mean,
        image_std=mean,
    )
    return LlavaProcessor(
        image_processor=image_processor,
        tokenizer=build_tokenizer(prompt_config),
        patch_size=scenes.CELL_PX,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=LLAVA.chat.template,
    )


def build_tokenizer(prompt_config: PromptConfig) -> PreTrainedTokenizerFast:
    """Byte-level BPE trained on the world's own sentences: any text encodes, every common word is one token."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=4096,
        min_frequency=1,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_sentences(prompt_config), trainer)
    bos_id = tokenizer.token_to_id("<s>")
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", bos_id)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        extra_special_tokens={"image_token": "<image>"},
        padding_side="left",
        model_max_length=MAX_POSITIONS,
        clean_up_tokenization_spaces=False,
    )


def _sentences(prompt_config: PromptConfig) -> Iterator[str]:
    words = [*scenes.COLOUR_NAMES, *scenes.SHAPES, *scenes.PLACES, *scenes.CREATURES, *scenes.HOMES, *scenes.FOODS]
    words += [*map(str, range(10)), "yes", "no", "empty", "creature"]
    for word in words:
        yield from (f" {word}", f" {word}?")
    templates = [*itertools.chain(*questions.PHRASINGS.values()), *questions.UNSEEN, *questions.UNSEEN_HELD_OUT]
    for template in templates:
        text = template.format(shape="circle", colour="red", place="north")
        yield from (text, f" {text}")
    instructions = [
        prompt_config.refusal_instruction,
        prompts.SHORT_ANSWER_SUFFIX,
        prompts.CHOICE_SUFFIX,
        prompts.GENERATE_ANSWERABLE,
        prompts.GENERATE_UNANSWERABLE,
        prompts.JUDGE_ANSWERABLE,
        CAPTION_PROMPT,
    ]
    for text in (*instructions, *itertools.chain(*prompts.REFUSALS.values())):
        yield from (text, f" {text}")
    yield "USER: \nWhat ASSISTANT: A A. B B. C C. D D. E E."
    yield "\nA. red\nB. blue\nC. green\nD. pink"
    yield " A\n B\n C\n D"


def build_model(config: ToyBaseModel, processor: LlavaProcessor, seed: int) -> LlavaForConditionalGeneration:
    """Random weights, scaled to 1/sqrt(fan_in): the usual std of 0.02 is slow to start at this width."""
    torch.manual_seed(seed)
    tokenizer = processor.tokenizer
    model_config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=config.vision_hidden_size,
            intermediate_size=2 * config.vision_hidden_size,
            num_hidden_layers=config.vision_num_layers,
            num_attention_heads=config.vision_hidden_size // 32,
            image_size=IMAGE_PX,
            patch_size=scenes.CELL_PX,
            projection_dim=config.vision_hidden_size,
        ),
        text_config=LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=config.hidden_size,
            intermediate_size=2 * config.hidden_size,
            num_hidden_layers=config.num_layers,
            num_attention_heads=config.hidden_size // 32,
            num_key_value_heads=config.hidden_size // 32,
            head_dim=32,
            max_position_embeddings=MAX_POSITIONS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            tie_word_embeddings=False,
        ),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        image_seq_length=NUM_CELLS,
        tie_word_embeddings=False,
    )
    model = LlavaForConditionalGeneration(model_config)
    for name, parameter in model.named_parameters():
        if "embed_tokens" in name:
            nn.init.normal_(parameter, std=0.5)
        elif "position_embedding" in name or "class_embedding" in name:
            nn.init.normal_(parameter, std=0.3)
        elif parameter.dim() >= 2:
            nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


def pretrain_vision(
    model: LlavaForConditionalGeneration, batches: Iterator[dict[str, np.ndarray]], config: ToyBaseModel
) -> Iterator[dict[str, float]]:
    """Train the vision tower to tell, cell by cell, colour, shape, size and glyph; yields metrics each step.

    Stands in for CLIP's pretraining; the heads are thrown away. Without it shape questions stay near chance.
    """
    tower = model.model.vision_tower
    width = tower.config.hidden_size
    heads = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, NUM_COLOURS + NUM_SHAPE_CLASSES + 2 + NUM_BITS))
    parameters = [*tower.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(
        parameters, config.vision_learning_rate, weight_decay=0.01, betas=(0.9, 0.98), foreach=True
    )
    for step, batch in enumerate(batches):
        rate = min(1, (step + 1) / 50) * max(0.02, 1 - step / config.vision_steps)
        for group in optimizer.param_groups:
            group["lr"] = config.vision_learning_rate * rate
        pixels = torch.tensor(batch["pixels"]).permute(0, 3, 1, 2).float() / 127.5 - 1
        targets = torch.tensor(batch["targets"]).flatten(0, 1)
        outputs = heads(tower(pixel_values=pixels).last_hidden_state[:, 1:]).flatten(0, 1)
        colour, shape, size, bits = outputs.split([NUM_COLOURS, NUM_SHAPE_CLASSES, 2, NUM_BITS], dim=1)
        is_creature = targets[:, 1] == CREATURE_CELL
        loss = (
            F.cross_entropy(colour, targets[:, 0], ignore_index=IGNORED)
            + F.cross_entropy(shape, targets[:, 1])
            + 0.3 * F.cross_entropy(size, targets[:, 2], ignore_index=IGNORED)
            + F.binary_cross_entropy_with_logits(bits[is_creature], targets[is_creature, 3:].float())
        )
        loss.backward()
        nn.utils.clip_grad_norm_([p for p in parameters if p.grad is not None], 1.0)
        optimizer.step()
        optimizer.zero_grad()
        has_thing = targets[:, 0] >= 0
        yield {
            "loss": loss.item(),
            "colour_accuracy": (colour[has_thing].argmax(1) == targets[has_thing, 0]).float().mean().item(),
            "shape_accuracy": (shape[has_thing].argmax(1) == targets[has_thing, 1]).float().mean().item(),
        }
