"""What trains and what stays, on a real FSDP-sharded model (gloo, one worker)."""

from collections import Counter

import pytest
import torch
import torch.distributed as dist
from torch.distributed.fsdp import FSDPModule

from inbol_ray.config.training import CaDpoConfig, LoraSettings
from inbol_ray.method.preference_pairs import pair_weights
from inbol_ray.models import DEFAULT_FAMILY
from inbol_ray.models.llava.modules import freeze_unused_layers
from inbol_ray.models.loading import load_model, load_processor
from inbol_ray.models.parts import base_of
from inbol_ray.rows import KNOWLEDGE_CLASSES
from inbol_ray.training.fsdp import prepare_model, shard
from inbol_ray.training.objectives import build_objective, response_logps
from inbol_ray.training.optimizer_step import OptimizerStep, build_optimizer, learning_rate_factor
from inbol_ray.training.reference import build_reference
from inbol_ray.training.utilisation import ModelFlops, peak_flops

LORA = LoraSettings(rank=4, alpha=8, dropout=0.0)


@pytest.fixture(scope="module", autouse=True)
def process_group(tmp_path_factory):
    store = tmp_path_factory.mktemp("store") / "store"
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def half_llava(tiny_llava, tmp_path_factory):
    """The tiny LLaVA as a bfloat16 checkpoint."""
    folder = tmp_path_factory.mktemp("half-llava")
    load_processor(str(tiny_llava)).save_pretrained(folder)
    load_model(str(tiny_llava)).to(torch.bfloat16).save_pretrained(folder)
    return folder


@pytest.fixture
def rows(scene_images):
    return [
        {
            "id": str(index),
            "images": [image],
            "user": "What is " + "very " * index + "red?",
            "correct": "dark blue",
            "incorrect": "a ring",
            "refusal": "I don't know.",
            "knowledge": KNOWLEDGE_CLASSES[index % 3],
            **pair_weights(KNOWLEDGE_CLASSES[index % 3], 0.5),
        }
        for index, image in enumerate(scene_images)
    ]


def train_two_steps(checkpoint, rows, *, num_micro_batches: int = 1, num_idle: int = 0, **changes):
    """(losses, names of the weights that changed) of two optimiser steps."""
    values = {"init_from": "original", "learning_rate": 1e-2, "warmup_steps": 0, "min_lr_ratio": 1.0}
    config = CaDpoConfig(**values | changes)
    objective = build_objective(config, load_processor(str(checkpoint)), DEFAULT_FAMILY)
    torch.manual_seed(0)
    model = prepare_model(str(checkpoint), config)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    model = shard(model, config)
    step = OptimizerStep(
        model, objective, build_reference(model, str(checkpoint), config), build_optimizer(model, config), config
    )
    parts = [rows[start::num_micro_batches] for start in range(num_micro_batches)]
    batches = [objective.collate(part) for part in parts]
    losses = [step.run(batches, 1.0, num_idle=num_idle)["loss"] for _ in range(2)]
    after = {name: parameter.full_tensor() for name, parameter in model.named_parameters()}
    return losses, {name for name, weight in before.items() if not torch.equal(weight, after[name])}


def test_a_step_says_how_busy_its_device_is(tiny_llava, rows):
    config = CaDpoConfig(init_from="original", learning_rate=1e-2, lora=LORA)
    objective = build_objective(config, load_processor(str(tiny_llava)), DEFAULT_FAMILY)
    model = shard(prepare_model(str(tiny_llava), config), config)
    step = OptimizerStep(
        model, objective, build_reference(model, str(tiny_llava), config), build_optimizer(model, config), config
    )
    batches = [objective.collate(rows[:3]), objective.collate(rows[3:])]
    metrics = step.run(batches, 1.0)
    sizes = [objective.size(batch) for batch in batches]
    assert metrics["padding_rate"] == 1 - sum(s.num_tokens for s in sizes) / sum(s.num_columns for s in sizes) > 0
    flops = sum(map(ModelFlops(model, has_reference=True).of, sizes))
    assert metrics["tflops_per_s"] * metrics["step_s"] == pytest.approx(flops / 1e12)
    assert metrics["utilisation"] == pytest.approx(metrics["tflops_per_s"] * 1e12 / peak_flops("cpu", torch.float32))


def test_small_layers_are_sharded_with_the_rest(tiny_llava):
    def num_sharded(**changes) -> int:
        config = CaDpoConfig(init_from="original", learning_rate=1e-2, **changes)
        model = shard(prepare_model(str(tiny_llava), config), config)
        return sum(isinstance(module, FSDPModule) for module in model.modules())

    llava = base_of(load_model(str(tiny_llava))).model
    num_layers = len(llava.vision_tower.encoder.layers) + len(llava.language_model.layers)
    assert num_sharded(min_parameters_per_shard=0) == 1 + num_layers
    assert num_sharded() == 1


def test_lora_trains_the_adapter_only(tiny_llava, rows):
    losses, changed = train_two_steps(tiny_llava, rows, lora=LORA)
    assert losses[0] == pytest.approx(0.6931, abs=1e-4) and losses[1] < losses[0]
    assert changed and all("lora_" in name and "language_model" in name for name in changed)
    for layer in range(load_model(str(tiny_llava)).config.text_config.num_hidden_layers):
        adapted = {name.split(".lora_")[0].rpartition(".")[2] for name in changed if f".layers.{layer}." in name}
        assert adapted == {f"{part}_proj" for part in ("q", "k", "v", "o", "gate", "up", "down")}


def test_llavas_recipe_trains_adapter_and_projector(tiny_llava, rows):
    losses, changed = train_two_steps(tiny_llava, rows, lora=LORA, projector_learning_rate=1e-3)
    assert losses[0] == pytest.approx(0.6931, abs=1e-4), "the reference must not have the trained projector"
    projector = {name for name in changed if "multi_modal_projector.modules_to_save" in name}
    assert len(projector) == 4 and all("lora_" in name for name in changed - projector)


def test_full_fine_tuning_leaves_the_vision_tower(tiny_llava, rows):
    _, changed = train_two_steps(tiny_llava, rows)
    assert any("multi_modal_projector" in name for name in changed) and any("lm_head" in name for name in changed)
    assert not any("vision_tower" in name for name in changed)
    _, changed = train_two_steps(tiny_llava, rows, projector_learning_rate=0.0)
    assert not any("multi_modal_projector" in name for name in changed)


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_activation_checkpointing_accumulation_and_idle_passes_change_no_loss(tiny_llava, rows, lora):
    expected, _ = train_two_steps(tiny_llava, rows, lora=lora)
    for changes in (
        {"gradient_checkpointing": True},
        {"num_micro_batches": 2},
        {"num_micro_batches": 4},
        {"num_idle": 2},
    ):
        losses, _ = train_two_steps(tiny_llava, rows, lora=lora, **changes)
        assert losses == pytest.approx(expected, abs=1e-5), changes


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_bfloat16_follows_float32(tiny_llava, rows, lora):
    expected, _ = train_two_steps(tiny_llava, rows, lora=lora)
    for changes in ({}, {"gradient_checkpointing": True}, {"projector_learning_rate": 1e-2}):
        losses, _ = train_two_steps(tiny_llava, rows, lora=lora, dtype="bfloat16", **changes)
        assert losses[0] == pytest.approx(expected[0], abs=1e-2) and losses[1] < losses[0], changes


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_trains_is_float32_and_what_is_frozen_has_the_compute_type(half_llava, dtype):
    config = CaDpoConfig(init_from="original", learning_rate=1, lora=LORA, projector_learning_rate=1, dtype=dtype)
    model = prepare_model(str(half_llava), config)
    assert model.get_base_model().lm_head.weight.dtype == torch.bfloat16
    for name, parameter in shard(model, config).named_parameters():
        assert parameter.dtype == (torch.float32 if parameter.requires_grad else getattr(torch, dtype)), name


def test_a_bfloat16_checkpoint_trains_like_its_float32_copy_and_is_left_alone(half_llava, rows, tmp_path):
    whole = tmp_path / "whole"
    load_processor(str(half_llava)).save_pretrained(whole)
    load_model(str(half_llava)).float().save_pretrained(whole)
    before = (half_llava / "model.safetensors").read_bytes()
    # PEFT rounds a fresh adapter to the base's type.
    for lora, tolerance in ((None, 1e-6), (LORA, 1e-4)):
        losses, _ = train_two_steps(half_llava, rows, lora=lora)
        assert losses == pytest.approx(train_two_steps(whole, rows, lora=lora)[0], abs=tolerance)
    assert (half_llava / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_activation_checkpointing_repeats_trained_layers_and_leaves_the_frozen_tower(tiny_llava, rows, lora):
    """Also where the projector trains, LLaVA's recipe: no backward pass goes through the tower."""
    changes = {"lora": lora, "projector_learning_rate": 1, "gradient_checkpointing": True}
    config = CaDpoConfig(init_from="original", learning_rate=1, **changes)
    model = prepare_model(str(tiny_llava), config)
    llava, passes, needs_gradient = base_of(model).model, Counter(), []
    for name, layers in (("tower", llava.vision_tower.encoder.layers), ("language", llava.language_model.layers)):
        layers[0].register_forward_pre_hook(lambda module, inputs, name=name: passes.update([name]))
    llava.vision_tower.register_forward_hook(
        lambda module, inputs, output: needs_gradient.append(output.last_hidden_state.requires_grad)
    )
    batch = build_objective(config, load_processor(str(tiny_llava)), DEFAULT_FAMILY).collate(rows)
    response_logps(model.train(), batch).sum().backward()
    assert needs_gradient == [False] and passes == {"tower": 1, "language": 2}


def test_layers_behind_the_selected_feature_are_frozen(tiny_llava):
    model = load_model(str(tiny_llava))
    model.config.vision_feature_layer = -2
    freeze_unused_layers(model)
    tower = model.model.vision_tower
    trains = [all(parameter.requires_grad for parameter in layer.parameters()) for layer in tower.encoder.layers]
    assert trains == [True, True, False]
    assert not any(parameter.requires_grad for parameter in tower.post_layernorm.parameters())


@pytest.mark.parametrize(
    ("schedule", "step", "expected"),
    [("linear", 0, 0.1), ("linear", 9, 0.919), ("linear", 50, 0.55), ("cosine", 50, 0.55), ("cosine", 75, 0.2318)],
)
def test_learning_rate_schedule(schedule, step, expected):
    config = CaDpoConfig(init_from="original", learning_rate=1, schedule=schedule, warmup_steps=10)
    assert learning_rate_factor(step, 100, config) == pytest.approx(expected, abs=1e-3)
