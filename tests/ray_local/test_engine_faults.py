"""The real vLLM engine on bad requests, and on several checkpoints in turn."""

import math
from pathlib import Path

import pytest

from inbol_ray.config.schema import EngineConfig
from inbol_ray.errors import CheckpointError
from inbol_ray.prompts import chat_prompt
from inbol_ray.sampling.vllm_engine import Decoding, Request, VllmEngine

GREEDY = Decoding(max_tokens=8)


@pytest.fixture(scope="module")
def engine(tiny_llava):
    return VllmEngine(str(tiny_llava), EngineConfig(kv_cache_bytes=64 << 20), seed=0)


def test_bad_requests_do_not_take_good_ones_down(engine, scene_images, tmp_path):
    truncated = tmp_path / "truncated.png"
    truncated.write_bytes(Path(scene_images[0]).read_bytes()[:60])
    good = [Request(chat_prompt(f"What is {n}?"), [scene_images[n % 4]]) for n in range(20)]
    bad = {
        3: (Request(chat_prompt("word " * 1000), [scene_images[0]]), "prompt_refused"),
        7: (Request(chat_prompt("What?"), [str(truncated)]), "unreadable_image"),
        11: (Request(chat_prompt("What?"), [str(tmp_path / "missing.png")]), "unreadable_image"),
        15: (Request(chat_prompt("What?", num_images=0), [scene_images[0]]), "prompt_refused"),
    }
    requests = [bad[n][0] if n in bad else request for n, request in enumerate(good)]
    replies = engine.generate(requests, GREEDY)
    for n, reply in enumerate(replies):
        if n in bad:
            assert reply.reason == bad[n][1] and reply.detail and not reply.texts
        else:
            assert reply.reason == "" and len(reply.texts) == 1


def test_every_sample_comes_back(engine, scene_images):
    replies = engine.generate([Request(chat_prompt("What?"), [scene_images[0]])] * 3, Decoding(10, 1.0, 4))
    assert [len(reply.texts) for reply in replies] == [10, 10, 10]
    assert len(set(replies[0].texts)) > 1


def test_first_token_probabilities_are_returned(engine, scene_images):
    reply = engine.generate([Request(chat_prompt("What?"), [scene_images[0]])], Decoding(1, 0.0, 1, 20))[0]
    assert len(reply.first_token) > 10 and 0 < sum(map(math.exp, reply.first_token.values())) <= 1 + 1e-6


def test_swapped_weights_answer_like_a_new_engine_and_like_transformers(engine, tiny_llava, scene_images, tmp_path):
    import torch

    from inbol_ray.images import load_images
    from inbol_ray.training.export import copy_processor
    from inbol_ray.training.fsdp import load_model, load_processor

    torch.manual_seed(1)
    other = load_model(str(tiny_llava))
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2 * parameter.std())
    folder = tmp_path / "other"
    other.save_pretrained(folder)
    copy_processor(str(tiny_llava), folder)

    requests = [Request(chat_prompt(f"What color is {n}?"), [image]) for n, image in enumerate(scene_images)]
    before = [reply.texts[0] for reply in engine.generate(requests, GREEDY)]
    engine.load(str(folder))
    swapped = [reply.texts[0] for reply in engine.generate(requests, GREEDY)]
    engine.load(str(tiny_llava))
    assert [reply.texts[0] for reply in engine.generate(requests, GREEDY)] == before != swapped

    processor = load_processor(str(folder))
    for request, text in zip(requests, swapped, strict=True):
        inputs = processor(images=load_images(request.images), text=request.prompt, return_tensors="pt")
        ids = other.generate(**inputs, max_new_tokens=8, do_sample=False)[0, inputs["input_ids"].shape[1] :]
        # an unfinished character at the very end is shown by one decoder and held back by the other
        assert processor.decode(ids, skip_special_tokens=True).strip().rstrip("\ufffd") == text.rstrip("\ufffd")


def test_a_folder_without_processor_is_named(engine, tiny_llava, tmp_path):
    (tmp_path / "config.json").write_text((tiny_llava / "config.json").read_text())
    with pytest.raises(CheckpointError, match="tokenizer_config.json is missing"):
        engine.load(str(tmp_path))
