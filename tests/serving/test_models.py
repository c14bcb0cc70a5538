"""Several models behind one address: two checkpoints, and a LoRA adapter on one of them."""

from pathlib import Path

import httpx
import pytest

from tests.serving.conftest import MODEL, ask, running_server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def adapter(tiny_llava, tmp_path_factory):
    """A random LoRA adapter on the language model's projections, as training with `lora` saves it."""
    import torch
    from peft import LoraConfig, get_peft_model

    from inbol_ray.config.training import LoraSettings
    from inbol_ray.models.loading import load_model

    torch.manual_seed(0)
    config = LoraConfig(r=8, lora_alpha=64, target_modules=LoraSettings().target_modules)
    model = get_peft_model(load_model(str(tiny_llava)), config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.normal_()
    folder = tmp_path_factory.mktemp("adapter")
    model.save_pretrained(folder)
    return folder


def test_base_and_adapter_and_another_checkpoint_side_by_side(tiny_llava, adapter, tmp_path, scene_images):
    models = {"base": {"path": str(tiny_llava)}, "tuned": {"path": str(tiny_llava), "lora": str(adapter)}}
    options = [
        f"--serving.models.{name}.{key}={value}" for name, given in models.items() for key, value in given.items()
    ]
    image = Path(scene_images[0]).read_bytes()
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in tiny_llava.iterdir():
        (copy / file.name).symlink_to(file)
    with running_server(tmp_path, copy, *options) as server:
        ready = httpx.get(f"{server.url}/readyz", timeout=60).json()
        assert ready == {"ready": True, "models": {MODEL: True, "base": True, "tuned": True}}
        said = {
            name: server.post(ask("What color is the ring?", image) | {"model": name}).json()
            for name in (MODEL, "base", "tuned")
        }
        texts = {name: reply["choices"][0]["message"]["content"] for name, reply in said.items()}
        assert texts[MODEL] == texts["base"] != texts["tuned"]
        assert {name: reply["model"] for name, reply in said.items()} == {name: name for name in said}
