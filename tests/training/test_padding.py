"""The same picture everywhere: what training saw is what plain transformers and plain vLLM make of an exported folder."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_process import engine_replies
from PIL import Image
from transformers import AutoProcessor, CLIPImageProcessor, SiglipImageProcessor

from inbol_ray.images import CLIP_COLOUR, checkpoint_pad_colour, load_image, pad_colour
from inbol_ray.models import DEFAULT_FAMILY
from inbol_ray.models.loading import load_processor
from inbol_ray.training.export import copy_processor

SIZES = ((64, 48), (33, 101), (7, 90), (48, 48), (50, 51))
HUB = {"size": {"shortest_edge": 336}, "crop_size": {"height": 336, "width": 336}}
"""What llava-hf/llava-1.5-7b-hf has in its preprocessor_config.json, beside CLIP's mean and deviation."""
TOY = {
    "size": {"shortest_edge": 48},
    "crop_size": {"height": 48, "width": 48},
    "image_mean": [0.5] * 3,
    "image_std": [0.5] * 3,
}


def with_image_processor(source: Path, folder: Path, image_processor) -> Path:
    """A copy of a checkpoint with another image processor, in a file of its own as the hub's llava-hf folders have it."""
    shutil.copytree(source, folder)
    path = folder / "processor_config.json"
    whole = json.loads(path.read_text())
    del whole["image_processor"]
    path.write_text(json.dumps(whole))
    image_processor.save_pretrained(folder)
    return folder


@pytest.fixture
def pictures(tmp_path) -> list[str]:
    """Files of noise in several forms, in which every pixel counts."""
    rng = np.random.default_rng(0)
    paths = []
    for width, height in SIZES:
        paths.append(str(tmp_path / f"{width}x{height}.png"))
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(paths[-1])
    return paths


@pytest.mark.parametrize("settings", [HUB, TOY], ids=["hub", "toy"])
def test_an_exported_processor_pads_as_training_does(settings, tiny_llava, tmp_path, pictures):
    """To the bit, from a checkpoint whose own processor crops."""
    base = with_image_processor(tiny_llava, tmp_path / "base", CLIPImageProcessor(**settings))
    exported = tmp_path / "exported"
    exported.mkdir()
    copy_processor(str(base), exported)
    cropping, plain = load_processor(str(base)), AutoProcessor.from_pretrained(exported)
    for picture in pictures:
        ours = load_image(picture, pad_colour(cropping.image_processor))
        trained_on = cropping.image_processor(images=[ours], return_tensors="pt")["pixel_values"]
        raw = plain.image_processor(images=[Image.open(picture)], return_tensors="pt")["pixel_values"]
        assert torch.equal(raw, trained_on)
        again = plain.image_processor(images=[ours], return_tensors="pt")["pixel_values"]
        assert torch.equal(again, trained_on)  # a padded picture stays as it is
    # A picture that is not square is where they differ.
    cropped = cropping.image_processor(images=[Image.open(pictures[0])], return_tensors="pt")["pixel_values"]
    assert not torch.equal(
        cropped, plain.image_processor(images=[Image.open(pictures[0])], return_tensors="pt")["pixel_values"]
    )
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "processor_config.json"):
        assert (exported / name).read_bytes() == (base / name).read_bytes()


def test_an_export_of_a_padding_processor_is_a_copy(tiny_llava, tmp_path):
    copy_processor(str(tiny_llava), tmp_path)
    copied = [path.name for path in tmp_path.iterdir()]
    assert "processor_config.json" in copied and "preprocessor_config.json" not in copied
    assert all((tmp_path / name).read_bytes() == (tiny_llava / name).read_bytes() for name in copied)


def test_a_processor_that_only_resizes_is_not_made_to_crop(tiny_llava, tmp_path, pictures):
    """SigLIP's towers have such ones; LlavaImageProcessor would crop to 224 if it were not told."""
    resizing = SiglipImageProcessor(size={"height": 48, "width": 48})
    base = with_image_processor(tiny_llava, tmp_path / "base", resizing)
    exported = tmp_path / "exported"
    exported.mkdir()
    copy_processor(str(base), exported)
    plain = AutoProcessor.from_pretrained(exported).image_processor
    ours = load_image(pictures[0], pad_colour(resizing))
    wanted = resizing(images=[ours], return_tensors="pt")["pixel_values"]
    assert torch.equal(plain(images=[Image.open(pictures[0])], return_tensors="pt")["pixel_values"], wanted)


def test_the_toy_processor_makes_of_scenes_what_the_cropping_one_made(tiny_llava, scene_images):
    padding = load_processor(str(tiny_llava)).image_processor
    assert padding.do_pad
    scenes = [load_image(scene) for scene in scene_images]
    before = CLIPImageProcessor(**TOY)(images=scenes, return_tensors="pt")["pixel_values"]
    assert torch.equal(padding(images=scenes, return_tensors="pt")["pixel_values"], before)


def test_the_colour_is_llavas_and_each_models_own(tiny_llava, tmp_path):
    assert pad_colour(CLIPImageProcessor()) == CLIP_COLOUR == (122, 116, 104)
    assert checkpoint_pad_colour(str(tiny_llava)) == (127, 127, 127)
    wide = tmp_path / "wide.png"
    Image.new("RGB", (4, 2)).save(wide)
    assert load_image(str(wide)).getpixel((0, 0)) == (122, 116, 104)
    assert load_image(str(wide), (1, 2, 3)).getpixel((0, 0)) == (1, 2, 3)


def test_training_pads_with_the_models_colour(tiny_llava, pictures):
    from inbol_ray.config.training import SupervisedConfig
    from inbol_ray.training.objectives import build_objective

    processor = load_processor(str(tiny_llava))
    objective = build_objective(
        SupervisedConfig(init_from="original", learning_rate=1, data="idk"), processor, DEFAULT_FAMILY
    )
    turns = [{"user": "What?", "assistant": "red"}]
    rows = [{"id": path, "images": [path], "turns": turns, "knowledge": "known"} for path in pictures]
    raw = [Image.open(path) for path in pictures]
    wanted = processor.image_processor(images=raw, return_tensors="pt")["pixel_values"]
    assert torch.equal(objective.collate(rows)["pixel_values"], wanted)


@pytest.mark.slow
def test_plain_vllm_answers_from_an_exported_folder_as_our_engine_does_from_its_base(tiny_llava, tmp_path, pictures):
    """Pictures that are not square, the base with the hub's cropping processor: text and log-probabilities."""
    from inbol_ray.config.machines import EngineConfig
    from inbol_ray.sampling.engine_settings import set_engine_environment
    from inbol_ray.sampling.vllm_engine import Decoding

    settings = EngineConfig()
    set_engine_environment(settings)
    from vllm import LLM, SamplingParams

    base = with_image_processor(tiny_llava, tmp_path / "base", CLIPImageProcessor(**TOY))
    exported = tmp_path / "exported"
    exported.mkdir()
    for name in ("config.json", "generation_config.json", "model.safetensors"):
        shutil.copy2(base / name, exported / name)
    copy_processor(str(base), exported)
    prompt = DEFAULT_FAMILY.chat.prompt("What color is the circle?")
    rows = [{"prompt": prompt, "images": [path]} for path in pictures]
    decoding = Decoding(temperature=0.0, max_tokens=8, num_logprobs=0)
    ours = engine_replies(str(base), rows, [0] * len(rows), settings, decoding)
    engine = LLM(
        model=str(exported),
        dtype="float32",
        max_model_len=settings.max_model_len,
        enforce_eager=True,
        kv_cache_memory_bytes=settings.cache_bytes,
        limit_mm_per_prompt={"image": 1},
        disable_log_stats=True,
    )
    raw = [{"prompt": prompt, "multi_modal_data": {"image": Image.open(path)}} for path in pictures]
    plain = engine.generate(raw, SamplingParams(temperature=0, max_tokens=8, logprobs=0), use_tqdm=False)
    sums = [output.outputs[0].cumulative_logprob for output in plain]
    assert sums == pytest.approx([sum(reply.token_logprobs[0]) for reply in ours], abs=1e-4)
    assert [output.outputs[0].text.strip() for output in plain] == [reply.texts[0] for reply in ours]
    assert max(sums) - min(sums) > 1e-2  # the picture matters
