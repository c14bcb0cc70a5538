"""An exported LoRA run: adapter and merged model answer alike, in transformers and in vLLM."""

import os
from pathlib import Path

import pytest
import torch

from inbol_ray.config.machines import EngineConfig
from inbol_ray.config.training import CaDpoConfig, LoraSettings
from inbol_ray.images import load_image
from inbol_ray.models import DEFAULT_FAMILY

CONFIG = CaDpoConfig(init_from="original", learning_rate=1, lora=LoraSettings(rank=8, alpha=16))
MAX_TOKENS = 12
QUESTIONS = ["What color is the circle?", "Where does the creature live?", "How many?", "Name?"]


def export(checkpoint: Path, folder: Path) -> Path:
    """Have training's own export write an adapter far from neutral; returns `folder`."""
    import torch.distributed as dist

    from inbol_ray.training.export import export_model
    from inbol_ray.training.fsdp import prepare_model, shard

    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=0, world_size=1)
    torch.manual_seed(0)
    model = prepare_model(str(checkpoint), CONFIG)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    export_model(shard(model, CONFIG), CONFIG, str(checkpoint), str(folder))
    dist.destroy_process_group()
    return folder


@pytest.fixture(scope="module")
def exported(tiny_llava, tmp_path_factory):
    return export(tiny_llava, tmp_path_factory.mktemp("exported"))


def transformers_answers(model, checkpoint, images) -> list[list[int]]:
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(checkpoint)
    answers = []
    for image, question in zip(images, QUESTIONS, strict=True):
        inputs = processor(images=load_image(image), text=DEFAULT_FAMILY.chat.prompt(question), return_tensors="pt")
        with torch.no_grad():
            ids = model.eval().generate(**inputs, max_new_tokens=MAX_TOKENS, do_sample=False)
        answers.append(ids[0, inputs["input_ids"].shape[1] :].tolist())
    return answers


@pytest.fixture(scope="module")
def merged_answers(exported, scene_images):
    from inbol_ray.models.loading import load_model

    return transformers_answers(load_model(str(exported / "model")), exported / "model", scene_images)


def test_the_export_has_the_base_models_files_and_no_base_weights_in_the_adapter(exported, tiny_llava):
    from safetensors.torch import load_file

    base, merged = (load_file(folder / "model.safetensors") for folder in (tiny_llava, exported / "model"))
    assert base.keys() == merged.keys()
    changed = {name for name in base if not torch.equal(base[name], merged[name])}
    assert changed and all("language_model" in name and "_proj" in name for name in changed)
    adapter = load_file(exported / "adapter" / "adapter_model.safetensors")
    assert adapter and all("lora_" in name for name in adapter)
    assert not list(exported.glob(".*.partial"))


def test_adapter_and_merged_model_answer_alike_in_transformers(exported, merged_answers, tiny_llava, scene_images):
    from peft import PeftModel

    from inbol_ray.models.loading import load_model

    base = transformers_answers(load_model(str(tiny_llava)), tiny_llava, scene_images)
    adapted = PeftModel.from_pretrained(load_model(str(tiny_llava)), exported / "adapter")
    assert transformers_answers(adapted, exported / "adapter", scene_images) == merged_answers != base


def test_an_export_has_the_type_of_its_checkpoint_and_is_rounded_once(tiny_llava, tmp_path):
    from safetensors.torch import load_file

    from inbol_ray.models.loading import load_model, load_processor

    half = tmp_path / "half"
    load_processor(str(tiny_llava)).save_pretrained(half)
    load_model(str(tiny_llava)).to(torch.bfloat16).save_pretrained(half)
    before = (half / "model.safetensors").read_bytes()
    folder = export(half, tmp_path)
    assert (half / "model.safetensors").read_bytes() == before
    adapter = load_file(folder / "adapter" / "adapter_model.safetensors")
    base, merged = (load_model(str(path)).state_dict() for path in (half, folder / "model"))
    for name, weight in base.items():
        module = f"base_model.model.{name.removesuffix('.weight')}"
        change = torch.zeros(())
        if f"{module}.lora_A.weight" in adapter:
            change = 2 * adapter[f"{module}.lora_B.weight"] @ adapter[f"{module}.lora_A.weight"]  # alpha / rank
        assert torch.equal(merged[name], (weight.float() + change).to(torch.bfloat16)), name


@pytest.mark.slow
@pytest.mark.parametrize("part", ["model", "adapter"])
def test_vllm_answers_like_transformers(part, exported, merged_answers, tiny_llava, scene_images):
    os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_LOGGING_LEVEL": "ERROR"}
    from vllm import LLM, SamplingParams
    from vllm.lora.request import LoRARequest

    settings = EngineConfig()
    options = {"enable_lora": True, "max_lora_rank": CONFIG.lora.rank} if part == "adapter" else {}
    engine = LLM(
        model=str(tiny_llava if part == "adapter" else exported / "model"),
        dtype="float32",
        max_model_len=settings.max_model_len,
        enforce_eager=True,
        kv_cache_memory_bytes=settings.cache_bytes,
        limit_mm_per_prompt={"image": 1},
        disable_log_stats=True,
        **options,
    )
    prompts = [
        {"prompt": DEFAULT_FAMILY.chat.prompt(question), "multi_modal_data": {"image": load_image(image)}}
        for image, question in zip(scene_images, QUESTIONS, strict=True)
    ]
    adapter = LoRARequest("trained", 1, str(exported / "adapter")) if part == "adapter" else None
    params = SamplingParams(temperature=0, max_tokens=MAX_TOKENS)
    outputs = engine.generate(prompts, params, use_tqdm=False, lora_request=adapter)
    assert [list(output.outputs[0].token_ids) for output in outputs] == merged_answers
