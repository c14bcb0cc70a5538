"""What a step's operations are estimated to be, against what torch counts; and that all of it runs without Ray."""

import subprocess
import sys

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from inbol_ray.config.training import CaDpoConfig, LoraSettings, SupervisedConfig
from inbol_ray.method.packing import PAD_SEGMENT, packed_attention_mask
from inbol_ray.method.preference_pairs import pair_weights
from inbol_ray.models import DEFAULT_FAMILY
from inbol_ray.models.loading import load_model, load_processor
from inbol_ray.models.parts import base_of
from inbol_ray.rows import KNOWLEDGE_CLASSES
from inbol_ray.training.fsdp import adapt_model
from inbol_ray.training.objectives import build_objective, response_logps
from inbol_ray.training.utilisation import BatchSize, ModelFlops, peak_flops

LORA = LoraSettings(rank=4, alpha=8)


@pytest.fixture
def preferences(scene_images):
    return [
        {
            "id": str(index),
            "images": [image],
            "user": "What is " + "very " * index + "red?",
            "correct": "dark blue and green",
            "incorrect": "a ring",
            "refusal": "I don't know.",
            "knowledge": KNOWLEDGE_CLASSES[index % 3],
            **pair_weights(KNOWLEDGE_CLASSES[index % 3], 0.5),
        }
        for index, image in enumerate(scene_images)
    ]


def test_planning_and_stepping_need_no_ray():
    blocked = (
        "import sys; sys.modules['ray'] = None\n"
        "from inbol_ray.method import losses, packing\n"
        "from inbol_ray.training import batches, encode, fsdp, objectives, optimizer_step, reference\n"
        "from inbol_ray.training import utilisation\n"
    )
    done = subprocess.run([sys.executable, "-c", blocked], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_packed_batch_is_counted_as_its_mask_says(tiny_llava, preferences):
    objective = build_objective(
        CaDpoConfig(init_from="original", learning_rate=1), load_processor(str(tiny_llava)), DEFAULT_FAMILY
    )
    batch = objective.collate(preferences)
    size, padding = objective.size(batch), batch["segments"] == PAD_SEGMENT
    assert size.num_columns == padding.numel() and size.num_tokens == int((~padding).sum()) < size.num_columns
    # Padding attends to itself alone.
    assert size.num_attended == int(packed_attention_mask(batch["segments"]).sum()) - int(padding.sum())
    is_response = ~padding[:, -batch["predictors"].shape[1] :]
    used = [set(row[used].tolist()) for row, used in zip(batch["predictors"], is_response, strict=True)]
    assert size.num_predictors == sum(map(len, used)) and size.num_images == 4


def test_a_conversation_batch_is_counted_without_padding(tiny_llava, scene_images):
    config = SupervisedConfig(init_from="original", learning_rate=1, data="idk")
    objective = build_objective(config, load_processor(str(tiny_llava)), DEFAULT_FAMILY)
    rows = [
        {"id": text, "images": [image], "turns": [{"user": text, "assistant": "a ring"}], "knowledge": "known"}
        for text, image in zip(("What?", "What is this one here?"), scene_images, strict=False)
    ]
    lengths = list(map(objective.row_length, rows))
    batch = objective.collate(rows)
    assert objective.size(batch) == BatchSize(
        sum(lengths),
        2 * max(lengths),
        sum(length * (length + 1) // 2 for length in lengths),
        int((batch["labels"] >= 0).sum()),
        2,
    )


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_estimated_operations_are_those_that_torch_counts(lora, tiny_llava, preferences):
    """Of one row without padding, policy forward and backward and the reference's forward.

    Torch counts attention over the whole square, so that is what the size says here. The first layers' backward through
    their inputs, which nothing needs, is the only difference.
    """
    config = CaDpoConfig(init_from="original", learning_rate=1, lora=lora)
    model = adapt_model(load_model(str(tiny_llava)), config)
    base_of(model).set_attn_implementation("eager")
    objective = build_objective(config, load_processor(str(tiny_llava)), DEFAULT_FAMILY)
    batch = objective.collate(preferences[1:2])
    size = objective.size(batch)
    assert size.num_tokens == size.num_columns
    # eager attention multiplies float masks
    with FlopCounterMode(display=False) as counter:
        response_logps(model, batch).sum().backward()
    square = BatchSize(size.num_tokens, size.num_columns, size.num_columns**2, batch["predictors"].shape[1] + 1, 1)
    estimated = ModelFlops(model, has_reference=False).of(square)
    counted = counter.get_total_flops()
    assert counted <= estimated <= 1.1 * counted
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        if lora is None:
            response_logps(model, batch)
        else:
            with model.disable_adapter():
                response_logps(model, batch)
    vision = ModelFlops(model, has_reference=False).an_image
    extra = ModelFlops(model, has_reference=True).of(square) - estimated
    frozen_vision = (
        vision
        if lora
        else vision
        - 4
        * sum(
            layer.weight.numel()
            for layer in base_of(model).model.multi_modal_projector.modules()
            if hasattr(layer, "weight")
        )
        * 9
    )
    assert extra == pytest.approx(counter.get_total_flops() - frozen_vision, rel=1e-6)


def test_the_peak_is_measured():
    assert peak_flops("cpu", torch.float32) > 1e8
