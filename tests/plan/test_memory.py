"""Memory on a GPU: shapes against real models, activations against what autograd saves, fits against known cards.

A CPU's allocator says nothing about CUDA's; the sums of trainings stand against peaks that one GPU measured.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from inbol_ray.config.load import load_config
from inbol_ray.config.schema import PipelineConfig
from inbol_ray.config.training import CaDpoConfig, LoraSettings, SupervisedConfig
from inbol_ray.errors import CheckpointError
from inbol_ray.models.llava.shape import LLAVA_15_7B, LLAVA_15_13B
from inbol_ray.pipeline import build_stages
from inbol_ray.plan.memory import (
    GIB,
    MicroBatch,
    engine_cache,
    engine_weights,
    footprints,
    layer_activations,
    sharded_states,
    trainable_parameters,
    training_footprint,
)
from inbol_ray.plan.shapes import SHAPES, read_shape, shape_of
from inbol_ray.plan.workload import build_work
from inbol_ray.runtime.work import Work

PAPER = ["--config", "jobs/configs/paper_llava15_7b.yaml"]
LORA = LoraSettings(rank=128, alpha=256)
MEASURED = Path("benchmarks/results/gpu-h200.json")


def sft(**values) -> SupervisedConfig:
    return SupervisedConfig(
        data="sft", init_from="original", learning_rate=1e-4, num_workers=8, global_batch_size=128, **values
    )


def count(model) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def build(shape, **text):
    """A LLaVA of a shape on no device."""
    import torch
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    vision = CLIPVisionConfig(
        hidden_size=shape.vision_hidden,
        intermediate_size=shape.vision_intermediate,
        num_hidden_layers=shape.vision_layers,
        num_attention_heads=shape.vision_hidden // 64,
        image_size=shape.image_size,
        patch_size=shape.patch_size,
    )
    language = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        tie_word_embeddings=shape.tied,
    )
    with torch.device("meta"):
        return LlavaForConditionalGeneration(LlavaConfig(vision_config=vision, text_config=language))


@pytest.mark.parametrize("name", SHAPES)
def test_parameters_are_those_of_the_real_model(name):
    shape, model = SHAPES[name], build(SHAPES[name])
    assert shape.parameters == count(model)
    assert shape.vision_parameters == count(model.model.vision_tower)
    assert shape.projector_parameters == count(model.model.multi_modal_projector)
    assert shape.layer_parameters == count(model.model.language_model.layers[0])
    assert shape.linear_parameters == sum(
        p.numel() for p in model.model.language_model.layers[0].parameters() if p.ndim > 1
    )


def test_adapter_parameters_are_peft_s():
    from inbol_ray.training.fsdp import add_adapter

    model = add_adapter(build(LLAVA_15_7B), sft(lora=LORA))
    adapter = sum(parameter.numel() for name, parameter in model.named_parameters() if "lora_" in name)
    assert LLAVA_15_7B.adapter_parameters(128) == adapter == trainable_parameters(LLAVA_15_7B, sft(lora=LORA))


def test_a_local_checkpoint_says_its_own_shape(tiny_llava, tmp_path):
    from inbol_ray.models.loading import load_model

    shape = read_shape(tiny_llava / "config.json")
    assert shape.parameters == count(load_model(str(tiny_llava)))
    assert shape_of(load_config([*PAPER, "--base_model.path", str(tiny_llava)])) == shape
    for model_type, message in (("llama", "model_type is 'llama'.*known: llava"), ("llava", "sizes.*text_config")):
        (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
        with pytest.raises(CheckpointError, match=message):
            shape_of(load_config([*PAPER, "--base_model.path", str(tmp_path)]))


def test_the_hub_s_files_leave_defaults_out(tmp_path):
    """llava-hf/llava-1.5-7b-hf's config.json, without what plays no part here."""
    vision = {
        "hidden_size": 1024,
        "image_size": 336,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "patch_size": 14,
    }
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "llava", "text_config": {"vocab_size": 32064}, "vision_config": vision})
    )
    assert read_shape(tmp_path / "config.json") == LLAVA_15_7B


def test_the_shape_of_a_hub_name():
    for path, shape in (("llava-hf/llava-1.5-13b-hf", LLAVA_15_13B), ("llava-hf/llava-1.5-7b-hf", LLAVA_15_7B)):
        assert shape_of(load_config([*PAPER, "--base_model.path", path])) == shape
    assert shape_of(load_config([*PAPER, "--plan.model", "llava-1.5-13b"])) == LLAVA_15_13B
    assert (LLAVA_15_7B.image_tokens, LLAVA_15_7B.rendered_image_bytes) == (576, 1_354_752)


@pytest.mark.parametrize(
    "settings",
    [None, LoraSettings(rank=8, alpha=16), LoraSettings(rank=8, alpha=16, dropout=0.05)],
    ids=["full", "lora", "lora with dropout"],
)
def test_activations_are_what_autograd_saves(settings):
    """One decoder layer's saved tensors, by the difference of models with three layers and with two: real bytes."""
    saved = {layers: _saved_bytes(layers, settings) for layers in (2, 3)}
    tokens, shape, _ = _language_model(2, settings)[1:]
    estimated = tokens * layer_activations(shape, settings, "bfloat16")
    assert (saved[3] - saved[2]) == pytest.approx(estimated, rel=0.01)


def _language_model(layers: int, lora: LoraSettings | None):
    import torch
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    torch.manual_seed(0)
    text = LlamaConfig(
        vocab_size=64, hidden_size=256, intermediate_size=688, num_hidden_layers=layers, num_attention_heads=4
    )
    vision = CLIPVisionConfig(
        hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=1, image_size=28, patch_size=14
    )
    model = LlavaForConditionalGeneration(LlavaConfig(vision_config=vision, text_config=text, image_token_index=63))
    model.model.vision_tower.requires_grad_(False)
    if lora is not None:
        from inbol_ray.training.fsdp import add_adapter

        model = add_adapter(model, sft(lora=lora))
    shape = replace(
        LLAVA_15_7B, hidden=256, layers=layers, intermediate=688, heads=4, kv_heads=4, head_dim=64, vocabulary=64
    )
    return model.to(torch.bfloat16).train(), 2 * 96, shape, (2, 96)


def _saved_bytes(layers: int, lora: LoraSettings | None) -> int:
    """Bytes of the tensors that a forward keeps for its backward, weights left out, each storage once."""
    import torch

    model, _, _, size = _language_model(layers, lora)
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        pointer = tensor.untyped_storage().data_ptr()
        if pointer not in weights:
            kept[pointer] = tensor  # held, so that its address is not used again
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(input_ids=torch.randint(1, 60, size), attention_mask=torch.ones(size, dtype=torch.long), use_cache=False)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def test_states_are_sharded():
    full = sharded_states(LLAVA_15_7B, sft(dtype="bfloat16"), 8)
    trained = LLAVA_15_7B.parameters - LLAVA_15_7B.vision_parameters
    assert full["optimizer"] == 16 * trained / 8
    assert full["weights"] == (4 * trained + 2 * LLAVA_15_7B.vision_parameters) / 8
    adapter = sharded_states(LLAVA_15_7B, sft(dtype="bfloat16", lora=LORA), 1)
    assert adapter["optimizer"] == 16 * LLAVA_15_7B.adapter_parameters(128) == 16 * 319_815_680
    assert adapter["weights"] == 2 * LLAVA_15_7B.parameters + 4 * 319_815_680
    dpo = {"init_from": "sft", "learning_rate": 1e-5, "num_workers": 8, "global_batch_size": 64, "dtype": "bfloat16"}
    assert sharded_states(LLAVA_15_7B, CaDpoConfig(**dpo), 8)["reference"] == 2 * LLAVA_15_7B.parameters / 8
    for spared in ({"lora": LORA}, {"reference": "precomputed"}):
        assert "reference" not in sharded_states(LLAVA_15_7B, CaDpoConfig(**dpo, **spared), 8)


def test_an_engine_s_weights_and_cache():
    assert engine_weights(LLAVA_15_7B, "bfloat16", 1) == 2 * 7_063_427_072
    assert engine_weights(LLAVA_15_7B, "bfloat16", 2) == 7_063_427_072
    assert (
        engine_weights(LLAVA_15_7B, "bfloat16", 1, "fp8")
        == 2 * 7_063_427_072 - LLAVA_15_7B.layers * LLAVA_15_7B.linear_parameters
    )
    assert engine_cache(LLAVA_15_7B, "bfloat16", 1, 1) == 524_288


def works_of(config: PipelineConfig, names: list[str]) -> list[Work]:
    works = build_work(build_stages(config), config, {})
    return [works[name] for name in names]


def fits(gpu_gb: int, *options: str) -> dict[str, tuple[bool, tuple[str, ...]]]:
    config = load_config([*PAPER, "--plan.gpu_memory_gb", str(gpu_gb), *options])
    found = footprints(config, shape_of(config), works_of(config, ["questions", "confidence", "sft", "ca_dpo"]))
    assert {one.stage for one in found} == {"confidence", "sft", "ca_dpo"}
    return {one.stage: (one.fits(gpu_gb * GIB), one.mends) for one in found}


def test_what_fits_which_card():
    assert all(ok for ok, _ in fits(80).values()) and all(ok for ok, _ in fits(40).values())
    small = fits(24)
    assert small["sft"][0] and not small["ca_dpo"][0] and not small["confidence"][0]
    assert "training.ca_dpo.gradient_checkpointing true" in small["ca_dpo"][1]
    assert "engine.quantization fp8" in small["confidence"][1]
    spread = "engine.tensor_parallel_size 2 with engine.num_gpus_per_engine 2"
    assert spread in small["confidence"][1]
    assert fits(24, *(f"--{text.replace(' ', '=')}" for text in spread.split(" with ")))["confidence"][0]
    full = fits(24, "--training.sft.lora", "null")
    assert not full["sft"][0]


def test_mends_do_mend():
    """Without checkpointing a worker holds every layer's activations; what is offered is enough."""
    options = ["--training.sft.gradient_checkpointing", "false", "--training.sft.micro_batch_tokens", "16384"]
    ok, mends = fits(40, *options)["sft"]
    assert not ok and "training.sft.gradient_checkpointing true" in mends
    for mend in mends:
        setting, _, value = mend.partition(" ")
        assert fits(40, *options, f"--{setting}", value)["sft"][0], mend


def test_two_mends_where_one_is_not_enough():
    options = ["--training.sft.lora", "null", "--training.sft.gradient_checkpointing", "false"]
    ok, mends = fits(40, *options)["sft"]
    assert not ok and mends
    pairs = [text.split(" ", 1) for text in mends[0].split(" and ")]
    assert fits(40, *options, *(part for setting, value in pairs for part in (f"--{setting}", value)))["sft"][0]


def test_a_cpu_run_has_no_gpu_to_fill():
    config = load_config(["--config", "jobs/configs/demo.yaml"])
    assert footprints(config, shape_of(config), works_of(config, ["confidence", "sft"])) == []
    config = load_config([*PAPER, "--engine.device", "cpu"])
    assert [one.stage for one in footprints(config, shape_of(config), works_of(config, ["confidence", "sft"]))] == [
        "sft"
    ]


def test_a_micro_batch_has_at_least_a_row():
    assert MicroBatch(100, 600, 6).rows == 1


def measured_peaks() -> list:
    """(configuration, micro-batch, bytes) of each LoRA step that was measured on a GPU."""
    sections = json.loads(MEASURED.read_text())["sections"]
    found = []
    for section in ("steps_unchecked", "steps_checkpointed", "idk_it"):
        for name, step in sections[section].items():
            if not isinstance(step, dict):
                continue
            rows = step["rows_a_micro_batch"]
            columns = step["tokens_per_s"] * step["step_s"] / step["micro_batches"] / (1 - step["padding_rate"])
            settings = {
                "init_from": "original",
                "learning_rate": 1,
                "num_workers": 1,
                "num_gpus_per_worker": 1,
                "dtype": "bfloat16",
                "lora": LORA,
                "gradient_checkpointing": "checkpointed" in section or "checkpointed" in name,
            }
            is_idk_it = section == "idk_it"
            more = {"data": "idk", "projector_learning_rate": 2e-5} if is_idk_it else {}
            method = (SupervisedConfig if is_idk_it else CaDpoConfig)(**settings, **more)
            batch = MicroBatch(round(columns), round(columns / rows), 16 if is_idk_it else 40)
            found.append(pytest.param(method, batch, step["peak_memory_gb"] * 1e9, id=f"{section}-{name}"))
    return found


@pytest.mark.parametrize(("method", "batch", "measured"), measured_peaks())
def test_what_a_gpu_took_is_what_is_estimated(method, batch, measured):
    """Of what torch allocates: CUDA's context and fragmentation, the overhead, are no part of the measured peak."""
    parts = training_footprint(LLAVA_15_7B, method, batch, "training").parts
    estimated = sum(parts.values()) - parts["overhead"]
    assert measured < estimated < (1.16 if method.gradient_checkpointing else 1.05) * measured
