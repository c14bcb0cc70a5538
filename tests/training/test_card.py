import json

import yaml
from stage_context import stage_context

from inbol_ray.config.load import load_config
from inbol_ray.config.training import LoraSettings
from inbol_ray.store.artifacts import MANIFEST
from inbol_ray.training.card import write_model_cards


def write_artifact(root, name: str, inputs: dict[str, str], counts: dict[str, int]):
    folder = root / name
    folder.mkdir()
    manifest = {"inputs": inputs, "counts": counts, "finished": "2026-01-01T00:00:00+00:00", "git_commit": "abc123" * 7}
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder


def test_the_card_names_base_data_configuration_and_metrics(tmp_path):
    config = load_config(["--config", "jobs/configs/demo.yaml"])
    write_artifact(tmp_path, "questions-1", {}, {"train": 6000})
    write_artifact(tmp_path, "confidence-1", {"questions": "questions-1"}, {"answers": 5})
    data = write_artifact(tmp_path, "data-1", {"confidence": "confidence-1", "questions": "questions-1"}, {"idk": 1234})
    folder = tmp_path / "ca_dpo-1"
    for part in ("model", "adapter"):
        (folder / part).mkdir(parents=True)
    method = config.training["ca_dpo"].model_copy(update={"lora": LoraSettings()})
    config = config.model_copy(update={"training": config.training | {"ca_dpo": method}})
    context = stage_context(folder, config, "ca_dpo", data=data)
    write_model_cards(context, "some/base", {"loss": 0.51234567, "num_steps": 468})

    card = (folder / "model" / "README.md").read_text()
    _, front, body = card.split("---\n", 2)
    values = yaml.safe_load(front)
    assert values["base_model"] == "some/base" and values["library_name"] == "transformers"
    assert values["datasets"] == ["oven", "scienceqa", "vqav2"] and "ca_dpo" in values["tags"]
    for name, counts in (("data-1", "1,234 idk"), ("confidence-1", "5 answers"), ("questions-1", "6,000 train")):
        [line] = [line for line in body.splitlines() if f"| {name} |" in line]
        assert counts in line and "abc123abc123 " in line
    assert "\nUSER: <image>\n{question} ASSISTANT:\n" in body
    assert "| loss | 0.512346 |" in body and '"beta": 0.5' in body
    adapter = (folder / "adapter" / "README.md").read_text()
    assert yaml.safe_load(adapter.split("---\n", 2)[1])["library_name"] == "peft"
