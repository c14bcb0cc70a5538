"""Training without Ray: rows -> plan of batches -> micro-batches -> optimiser steps, of both objectives, in float64.

The checkpoint is made here: a tokenizer whose tokens are bytes, and weights that NumPy draws. So the numbers depend on
training alone, and on no other stage's words.
"""

from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
import torch.distributed as dist
from golden.fixed_input import write_table
from PIL import Image
from stage_context import stage_context
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaImageProcessor,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from inbol_ray.config.schema import PipelineConfig
from inbol_ray.models.loading import load_processor
from inbol_ray.models.registry import family_of
from inbol_ray.rows import CONVERSATION, KNOWLEDGE_CLASSES, PREFERENCE_SET
from inbol_ray.toyworld.base_model import save_new_model
from inbol_ray.training.batches import MICRO_BATCH, STEP, plan_batches
from inbol_ray.training.fsdp import prepare_model
from inbol_ray.training.micro_batches import MicroBatches
from inbol_ray.training.objectives import build_objective, response_logps
from inbol_ray.training.optimizer_step import OptimizerStep, build_optimizer, learning_rate_factor
from inbol_ray.training.stage import _drop_long, _read_rows

NUM_ROWS, NUM_STEPS = 13, 3
SPECIAL_TOKENS = ("<unk>", "<s>", "</s>", "<pad>", "<image>")
OF_THE_MACHINE = ("step_s", "tokens_per_s", "tflops_per_s", "utilisation", "peak_memory_bytes")
"""Metrics that no two runs share."""
CHANGES = {
    "global_batch_size": 4,
    "num_workers": 2,
    "micro_batch_tokens": 220,
    "num_epochs": 2,
    "max_length": 110,
    "warmup_steps": 2,
    "learning_rate": 1e-2,
    "weight_decay": 0.1,
    "sample": 12,
}


def train_on_fixed_rows(config: PipelineConfig, folder: Path, patch: Any) -> dict[str, Any]:
    write_rows(folder / "data")
    checkpoint = folder / "init" / "model"
    write_checkpoint(checkpoint)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=0, world_size=1)
    try:
        return {
            f"{method} {part}": value
            for method in ("idk_it", "ca_dpo")
            for part, value in train(config, method, folder, str(checkpoint)).items()
        }
    finally:
        dist.destroy_process_group()


def train(config: PipelineConfig, method: str, folder: Path, checkpoint: str) -> dict[str, Any]:
    training = config.training[method]
    training = training.model_validate(training.model_dump() | CHANGES)
    config = config.model_copy(update={"training": config.training | {method: training}})
    (folder / method).mkdir()
    context = stage_context(folder / method, config, method, data=folder / "data")
    rows = _drop_long(context, _read_rows(context), checkpoint)
    shares, num_steps = plan_batches(rows, training, config.seed)
    objective = build_objective(training, load_processor(checkpoint), family_of(checkpoint), context.settings.system)
    model = prepare_model(checkpoint, training).double()
    frozen = prepare_model(checkpoint, training).double().requires_grad_(False).eval()

    def reference(batch, features):  # as `training.reference` has it in full fine-tuning, unsharded
        return response_logps(frozen, batch, features)

    step = OptimizerStep(model, objective, reference, build_optimizer(model, training), training)
    model.train()
    first, metrics = None, []
    for number in range(NUM_STEPS):
        batches = list(chain(*(_micro_batches(objective, table, number, share) for share, table in enumerate(shares))))
        first = first or batches[0]
        found = step.run(batches, learning_rate_factor(number, num_steps, training))
        metrics.append({name: value for name, value in found.items() if name not in OF_THE_MACHINE})
    del first["dropout_seed"]
    weights = {name: float(one.detach().abs().mean()) for name, one in model.named_parameters() if one.requires_grad}
    return {
        "rejected": dict(context.rejected),
        "rows": rows.select(["id", *(name for name in rows.column_names if name.startswith("weight_"))]).to_pylist(),
        "plan": [table.select(["id", STEP, MICRO_BATCH]).to_pylist() for table in shares],
        "batch": first | {"pixel_values": first["pixel_values"].mean((1, 2, 3))},
        "steps": metrics,
        "weights": weights,
    }


def _micro_batches(objective, table: pa.Table, step: int, share: int) -> list[dict]:
    rows = table.filter(pa.compute.equal(table[STEP], step)).to_pylist()
    columns = {name: [row[name] for row in rows] for name in table.column_names}
    batches = MicroBatches(objective, first_step=0, seed=0, share=share)(columns)
    for batch in batches:
        batch["pixel_values"] = batch["pixel_values"].double()
    return batches


def write_rows(folder: Path) -> None:
    """`idk.parquet` and `preferences.parquet`, one row of each too long, about pictures of two shapes."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    for name, height in (("square", 48), ("flat", 32)):
        Image.fromarray(rng.integers(0, 256, (height, 48, 3), dtype=np.uint8)).save(folder / f"{name}.png")
    conversations, preferences = [], []
    for number in range(NUM_ROWS):
        row = {
            "id": f"{('vqav2', 'oven')[number % 2]}:train:{number:02d}",
            "images": [str(folder / f"{('square', 'flat')[number % 2]}.png")],
            "knowledge": KNOWLEDGE_CLASSES[number % 3],
        }
        user = "Is it " + "very " * (30 if number == 5 else number % 4) + "red?"
        conversations.append(row | {"turns": [{"user": user, "assistant": ("yes", "I don't know.")[number % 2]}]})
        responses = {"correct": "yes", "incorrect": "a ring", "refusal": "I don't know."}
        preferences.append(row | responses | {"user": user, "confidence": 0.1 * (number % 10)})
    write_table(folder / "idk.parquet", conversations, CONVERSATION)
    write_table(folder / "preferences.parquet", preferences, PREFERENCE_SET)


def write_checkpoint(folder: Path) -> None:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*SPECIAL_TOKENS, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        extra_special_tokens={"image_token": "<image>"},
    )
    half = [0.5] * 3
    processor = LlavaProcessor(
        image_processor=LlavaImageProcessor(
            do_pad=True,
            size={"shortest_edge": 48},
            crop_size={"height": 48, "width": 48},
            image_mean=half,
            image_std=half,
        ),
        tokenizer=fast,
        patch_size=16,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    shape = {"intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=CLIPVisionConfig(hidden_size=16, image_size=48, patch_size=16, projection_dim=16, **shape),
            text_config=LlamaConfig(
                vocab_size=len(vocabulary), hidden_size=32, num_key_value_heads=2, head_dim=16, **shape
            ),
            image_token_index=vocabulary["<image>"],
            vision_feature_layer=-1,
            vision_feature_select_strategy="default",
            image_seq_length=9,
        )
    )
    rng = np.random.default_rng(0)
    for name, parameter in sorted(model.named_parameters()):
        drawn = torch.tensor(rng.normal(0, 0.3, tuple(parameter.shape)), dtype=parameter.dtype)
        parameter.data = drawn + (1.0 if "norm" in name and name.endswith("weight") else 0.0)
    save_new_model(model, processor, folder)
