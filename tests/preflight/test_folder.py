"""A checkpoint's own problems: real folders, each damaged in one way, each told in a line that says how to mend it."""

import json
import struct

import pytest
from damaged_checkpoints import (
    GONE,
    WITHOUT_PROCESSOR_FIELDS,
    damaged,
    edit,
    remove,
    rewrite_weights,
    split_weights,
    write,
    write_bytes,
)

from inbol_ray.config.machines import StorageConfig
from inbol_ray.config.training import LoraSettings, SupervisedConfig
from inbol_ray.errors import CheckpointError
from inbol_ray.preflight.folder import find_problems

ORIGINAL = json.dumps({"architectures": ["LlavaLlamaForCausalLM"], "model_type": "llava", "mm_vision_tower": "clip"})
VICUNA = "{% for m in messages %}### {{ m['role'] }}: <image>\n{{ m['content'][1]['text'] }}{% endfor %}"
HUB_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] != 'system' %}{{ message['role'].upper() + ': '}}{% endif %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
    "{% if message['role'] != 'assistant' %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] + ' '}}"
    "{% endfor %}{% else %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{% generation %}{{ content['text'] + ' '}}{% endgeneration %}{% endfor %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
"""As llava-hf's checkpoints write it."""
LFS_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 13504\n"
HEAD = "language_model.lm_head.weight"
SHARD = "model-00002-of-00002.safetensors"


def point_outside(folder):
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"lm_head.weight": "../../../etc/passwd"}}))


def spoil_tokenizer(folder):
    """`<image>` and `</s>` as plain text; with the first word of the vocabulary as what is unknown."""
    path = folder / "tokenizer.json"
    whole = json.loads(path.read_text())
    whole["added_tokens"] = [token for token in whole["added_tokens"] if token["content"] != "</s>"]
    whole["model"]["vocab"]["<end>"] = whole["model"]["vocab"].pop("</s>")
    path.write_text(json.dumps(whole))
    edit("tokenizer_config.json", eos_token="<end>")(folder)


def drop(name):
    return rewrite_weights(lambda tensors: tensors.pop(name))


def rename_tower(tensors):
    for name in [name for name in tensors if name.startswith("vision_tower.vision_model.")]:
        tensors[name.replace("vision_model.", "")] = tensors.pop(name)


def transpose(tensors):
    name = "multi_modal_projector.linear_1.weight"
    tensors[name] = tensors[name].T.contiguous()


def cut_vocabulary(tensors):
    for name in (HEAD, "language_model.model.embed_tokens.weight"):
        tensors[name] = tensors[name][:600].clone()


DAMAGES = {
    "no config": ([remove("config.json")], r"config.json is missing"),
    "torn config": ([write("config.json", '{"model_type": ')], r"config.json: no JSON"),
    "config of another kind": ([write("config.json", "[]")], r"found list, expected a JSON object"),
    "original layout": ([write("config.json", ORIGINAL)], r"LlavaLlamaForCausalLM.*llava-hf/llava-1.5-7b-hf"),
    "other family": ([edit("config.json", model_type="gemma3")], r"model_type is 'gemma3'.*known: llava"),
    "no vision_config": ([edit("config.json", vision_config=GONE)], r"vision_config is missing"),
    "other tower": (
        [edit("config.json", vision_config__model_type="pixtral")],
        r"'pixtral', expected one of clip_visi",
    ),
    "impossible sizes": ([edit("config.json", text_config__hidden_size="wide")], r"config.json: .*hub's layout"),
    "no tokenizer": ([write("tokenizer.json", '{"model": 3}')], r"processor cannot be loaded"),
    "another processor": (
        [edit("processor_config.json", processor_class="LlavaNextProcessor")],
        r"no usable processor \(found a LlavaNextProcessor\)",
    ),
    "class token not counted": (
        [edit("processor_config.json", num_additional_image_tokens=0)],
        r"an image becomes 8 tokens .*makes 9 features.*set patch_size=16, .*num_additional_image_tokens=1",
    ),
    "other patches": ([edit("processor_config.json", patch_size=8)], r"an image becomes 36 tokens"),
    "other pictures": (
        [edit("processor_config.json", image_processor__crop_size={"height": 32, "width": 32})],
        r"pictures of 32 x 32 pixels, but the vision tower takes 48 x 48",
    ),
    "other template": (
        [write("chat_template.jinja", VICUNA)],
        r"'### user: .*expected 'USER: <image>\\nWhat is this\?",
    ),
    "broken template": ([write("chat_template.jinja", "{{ messages[7].x.y }}")], r"fails at its template"),
    "image token": ([edit("config.json", image_token_index=7)], r"image_token_index is 7, but .* as 4"),
    "end token": ([spoil_tokenizer], r"</s> is read as \['<', '/', 's', '>'\], expected one token"),
    "no padding": ([edit("tokenizer_config.json", pad_token=GONE)], r"pad_token is missing"),
    "small vocabulary": (
        [edit("config.json", text_config__vocab_size=600), rewrite_weights(cut_vocabulary)],
        r"largest token id is 888.*is 600",
    ),
    "no weights": ([remove("model.safetensors")], r"found no weights"),
    "pickled weights": (
        [remove("model.safetensors"), write("pytorch_model.bin", b"\x80\x02")],
        r"only pickled weights \(pytorch_model.bin\)",
    ),
    "LFS pointer": ([write("model.safetensors", LFS_POINTER)], r"no whole safetensors file.*git lfs pull"),
    "cut off": ([write_bytes("model.safetensors", lambda data: data[:-100])], r"no whole safetensors file"),
    "header of 10 exabytes": (
        [write_bytes("model.safetensors", lambda data: struct.pack("<Q", 10**19) + data[8:])],
        r"no whole safetensors file",
    ),
    "no projector bias": (
        [drop("multi_modal_projector.linear_1.bias")],
        r"1 tensors of the model are missing \(model.m",
    ),
    "no head": ([drop("language_model.lm_head.weight")], r"missing \(lm_head.weight\)"),
    "other shape": ([rewrite_weights(transpose)], r"another shape.*linear_1.weight \(\[64, 96\], not \[96, 64\]\)"),
    "names that vLLM lacks": (
        [rewrite_weights(rename_tower)],
        r"vLLM does not read, expected vision_tower.vision_model",
    ),
    "a file short": ([split_weights, remove(SHARD)], rf"{SHARD}: missing, though .*index.json names it"),
    "index of other files": (
        [split_weights, lambda folder: (folder / SHARD.replace("2-", "1-")).rename(folder / SHARD)],
        r"is not in it, though .*index.json says so|missing, though",
    ),
    "path in the index": ([split_weights, point_outside], r"weight_map names no files of this folder"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_checkpoint_gets_one_line(name, tiny_llava, tmp_path):
    changes, line = DAMAGES[name]
    folder = damaged(tiny_llava, tmp_path / "model", *changes)
    problems = find_problems(str(folder), StorageConfig())
    assert len(problems) == 1 and "\n" not in problems[0] and problems[0].startswith(str(folder))
    with pytest.raises(CheckpointError, match=line):
        raise CheckpointError(problems[0])


SOUND = {
    "as made": [],
    "in two files": [split_weights],
    "the hub's template": [write("chat_template.jinja", HUB_TEMPLATE)],
    "without a template": [remove("chat_template.jinja")],
    "a template that writes the first token": [
        write_bytes("chat_template.jinja", lambda text: b"{{ bos_token }}" + text)
    ],
    "without processor fields": [WITHOUT_PROCESSOR_FIELDS],
    "a tensor too many": [rewrite_weights(lambda tensors: tensors.update(unused=tensors[HEAD][:1].clone()))],
}


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_checkpoint_passes(name, tiny_llava, tmp_path):
    folder = damaged(tiny_llava, tmp_path / "model", *SOUND[name])
    assert find_problems(str(folder), StorageConfig()) == []


def test_every_problem_of_a_checkpoint_is_told(tiny_llava, tmp_path):
    folder = damaged(
        tiny_llava,
        tmp_path / "model",
        write("chat_template.jinja", VICUNA),
        edit("processor_config.json", patch_size=8),
        drop("language_model.lm_head.weight"),
    )
    template, tokens, weights = sorted(find_problems(str(folder), StorageConfig()), key=lambda line: line[-1])
    assert len({template, tokens, weights}) == 3


@pytest.mark.parametrize(
    ("pattern", "line"),
    [(r".*text_model.*\.q_proj", "matches linear layers"), (r".*self_attn", "matches linear layers")],
)
def test_an_adapter_without_a_place_is_told_with_a_name_that_would_match(pattern, line, tiny_llava):
    lora = LoraSettings(target_modules=pattern)
    methods = {
        "bad": SupervisedConfig(init_from="original", learning_rate=1, data="idk", lora=lora),
        "good": SupervisedConfig(init_from="original", learning_rate=1, data="idk", lora=LoraSettings()),
        "whole": SupervisedConfig(init_from="original", learning_rate=1, data="idk"),
    }
    (problem,) = find_problems(str(tiny_llava), StorageConfig(), methods)
    assert problem.startswith("training.bad.lora.target_modules is ") and line in problem
    assert "model.language_model.layers.2.mlp.down_proj" in problem


def test_a_hub_name_is_checked_in_its_cached_copy(tiny_llava, tmp_path, monkeypatch):
    """With the index of its weights and not yet the weights, as after a first look at a model of the hub."""
    cache = tmp_path / "hub" / "models--someone--model"
    commit = "0" * 40
    cache.joinpath("refs").mkdir(parents=True)
    cache.joinpath("refs", "main").write_text(commit)
    folder = damaged(tiny_llava, cache / "snapshots" / commit, split_weights)
    for shard in folder.glob("*.safetensors"):
        shard.unlink()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert find_problems("someone/model", StorageConfig()) == []

    index = folder / "model.safetensors.index.json"
    files = json.loads(index.read_text())
    del files["weight_map"]["language_model.lm_head.weight"]
    index.write_text(json.dumps(files))
    (problem,) = find_problems("someone/model", StorageConfig())
    assert "missing (lm_head.weight)" in problem
    (problem,) = find_problems("someone/else", StorageConfig())
    assert problem.startswith("someone/else: neither a folder nor a model that the hub or its cache has")
