"""A processor whose files lack fields, and a model whose files lack weights, as training and sampling load them."""

import pytest
import torch
from damaged_checkpoints import GONE, WITHOUT_PROCESSOR_FIELDS, damaged, edit, rewrite_weights
from transformers import AutoProcessor

from inbol_ray.config.training import SupervisedConfig
from inbol_ray.errors import CheckpointError
from inbol_ray.models import DEFAULT_FAMILY
from inbol_ray.models.llava.processor import FIELDS
from inbol_ray.models.loading import load_model, load_processor
from inbol_ray.training.export import copy_processor
from inbol_ray.training.objectives import build_objective

CONFIG = SupervisedConfig(init_from="original", learning_rate=1, data="idk")


def loss(folder, images):
    rows = [
        {
            "id": f"{number}",
            "images": [image],
            "turns": [{"user": f"What is {number}?", "assistant": "red"}],
            "knowledge": "known",
        }
        for number, image in enumerate(images)
    ]
    objective = build_objective(CONFIG, load_processor(str(folder)), DEFAULT_FAMILY)
    batch = objective.collate(rows)
    with torch.no_grad():
        return objective.loss(load_model(str(folder)).eval(), batch)[0].item(), batch["input_ids"].tolist()


@pytest.mark.parametrize("missing", [FIELDS, *([name] for name in FIELDS)])
def test_fields_that_a_processor_lacks_are_the_models(missing, tiny_llava, scene_images, tmp_path):
    change = edit("processor_config.json", **dict.fromkeys(missing, GONE))
    folder = damaged(tiny_llava, tmp_path / "model", change)
    assert loss(folder, scene_images) == loss(tiny_llava, scene_images)


def test_an_export_states_what_its_source_lacked(tiny_llava, tmp_path):
    base = damaged(tiny_llava, tmp_path / "base", WITHOUT_PROCESSOR_FIELDS)
    exported = tmp_path / "exported"
    exported.mkdir()
    copy_processor(str(base), exported)
    plain, whole = AutoProcessor.from_pretrained(exported), load_processor(str(tiny_llava))
    assert [getattr(plain, name) for name in FIELDS] == [getattr(whole, name) for name in FIELDS]
    assert DEFAULT_FAMILY.image_tokens(plain) == DEFAULT_FAMILY.image_tokens(whole)


def test_a_tower_without_class_token_needs_none_counted(tiny_llava, tmp_path):
    """SigLIP's: of 9 patches the full strategy hands on 9 features."""
    siglip = edit("config.json", vision_config__model_type="siglip_vision_model", vision_feature_select_strategy="full")
    folder = damaged(tiny_llava, tmp_path / "model", WITHOUT_PROCESSOR_FIELDS, siglip)
    assert DEFAULT_FAMILY.image_tokens(load_processor(str(folder))) == 9


def test_fields_that_cannot_be_known_are_named(tiny_llava, tmp_path):
    unknown = edit("config.json", vision_config__model_type="dinov2")
    folder = damaged(tiny_llava, tmp_path / "model", edit("processor_config.json", patch_size=GONE), unknown)
    with pytest.raises(CheckpointError, match=r"processor_config.json: patch_size missing, .*'dinov2'"):
        load_processor(str(folder))


def test_weights_that_are_missing_are_not_made_up(tiny_llava, tmp_path):
    lost = rewrite_weights(lambda tensors: tensors.pop("language_model.lm_head.weight"))
    with pytest.raises(CheckpointError, match=r"1 tensors of the model are missing \(lm_head.weight\)"):
        load_model(str(damaged(tiny_llava, tmp_path / "model", lost)))
    wider = edit("config.json", text_config__intermediate_size=256)
    with pytest.raises(CheckpointError, match="9 have another shape than config.json says"):
        load_model(str(damaged(tiny_llava, tmp_path / "wider", wider)))
