"""The TRL export: what TRL reads from it is, token for token, what we train on."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from inbol_ray.config.machines import StorageConfig
from inbol_ray.datagen.trl_export import export_trl, write_file
from inbol_ray.datagen.trl_rows import instruction_rows
from inbol_ray.method.preference_pairs import add_pair_weights
from inbol_ray.models import DEFAULT_FAMILY
from inbol_ray.rows import CONVERSATION, KNOWLEDGE_CLASSES, PREFERENCE_SET


def preference(index: int, image: str) -> dict:
    knowledge = KNOWLEDGE_CLASSES[index % 3]
    return {
        "id": f"row{index}",
        "images": [image],
        "user": f"What is number {index}? <image>",
        "correct": None if knowledge == "unknown" else "red",
        "incorrect": None if knowledge == "known" else "dark blue",
        "refusal": "I don't know.",
        "knowledge": knowledge,
        "confidence": 0.25,
    }


def instruction(index: int, image: str) -> dict:
    turns = [{"user": f"What is number {index}?", "assistant": "red"}]
    return {"id": f"row{index}", "images": [image], "turns": turns, "knowledge": "known"}


@pytest.fixture
def data_folder(scene_images, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    preferences = [preference(index, scene_images[index % 4]) for index in range(6)]
    preferences.append(preference(6, "missing.png"))
    pq.write_table(pa.Table.from_pylist(preferences, schema=PREFERENCE_SET), folder / "preferences.parquet")
    examples = [instruction(index, scene_images[index]) for index in range(4)]
    for name in ("idk", "sft"):
        pq.write_table(pa.Table.from_pylist(examples, schema=CONVERSATION), folder / f"{name}.parquet")
    return folder


@pytest.fixture
def exported(data_folder, tmp_path):
    """Written without Ray, by the function that the Ray tasks run."""
    counts = {}
    for part in ("preferences", "idk"):
        table = pq.read_table(data_folder / f"{part}.parquet")
        table = add_pair_weights(table) if part == "preferences" else table
        [counts[part]] = write_file(table, str(tmp_path / "trl" / part), StorageConfig()).to_pylist()
    return tmp_path / "trl", counts


def load(folder, part: str, cache):
    from datasets import load_dataset

    return load_dataset("parquet", data_dir=str(folder / part), split="train", cache_dir=str(cache))


def test_each_weighed_pair_is_a_row_and_images_decode(exported, tmp_path):
    folder, counts = exported
    rows = load(folder, "preferences", tmp_path / "cache")
    assert len(rows) == counts["preferences"]["rows"] == 2 + 2 * 2 + 2
    mixed = [row for row in rows if row["id"] == "row1"]
    assert [(row["chosen"][0]["content"], row["weight"]) for row in mixed] == [("red", 0.25), ("I don't know.", 0.75)]
    assert rows[0]["images"][0].size[0] > 8
    assert [row["id"] for row in counts["preferences"]["rejected"]] == ["row6"]
    assert "<image>" not in rows[0]["prompt"][0]["content"]


def test_the_ablations_leave_out_the_pairs_without_weight(data_folder, tmp_path):
    table = add_pair_weights(pq.read_table(data_folder / "preferences.parquet"), "refusal_incorrect")
    write_file(table, str(tmp_path / "trl" / "preferences"), StorageConfig())
    mixed = [row for row in load(tmp_path / "trl", "preferences", tmp_path / "cache") if row["id"] == "row1"]
    assert [(row["chosen"][0]["content"], row["weight"]) for row in mixed] == [("I don't know.", 1.0)]


def test_a_later_turn_has_the_earlier_ones_in_its_prompt():
    turns = [{"user": "a", "assistant": "b"}, {"user": "c", "assistant": "d"}]
    first, second = instruction_rows({"turns": turns})
    assert [message["content"] for message in first["prompt"]] == ["a"]
    assert [message["content"] for message in second["prompt"]] == ["a", "b", "c"]
    assert second["completion"][0]["content"] == "d"


def test_a_system_text_is_the_first_message_and_stands_as_in_our_prompts(data_folder, tiny_llava, tmp_path):
    from inbol_ray.models.loading import load_processor

    table = pq.read_table(data_folder / "idk.parquet").slice(0, 1)
    write_file(table, str(tmp_path / "idk"), StorageConfig(), "Be brief.")
    [row] = load(tmp_path, "idk", tmp_path / "cache")
    assert [message["role"] for message in row["prompt"]] == ["system", "user"]
    said = load_processor(str(tiny_llava)).apply_chat_template(
        row["prompt"], chat_template=DEFAULT_FAMILY.chat.training_template
    )
    assert said == "<s>" + DEFAULT_FAMILY.chat.prompt("What is number 0?", num_images=0, system="Be brief.")


def test_trl_trains_a_dpo_step_on_our_very_tokens(exported, tiny_llava, tmp_path, data_folder):
    from trl import DPOConfig, DPOTrainer

    from inbol_ray.config.training import CaDpoConfig
    from inbol_ray.models.loading import load_model, load_processor
    from inbol_ray.training.objectives import build_objective

    rows = load(exported[0], "preferences", tmp_path / "cache")
    processor = load_processor(str(tiny_llava))
    processor.chat_template = DEFAULT_FAMILY.chat.training_template
    settings = DPOConfig(
        output_dir=str(tmp_path / "out"),
        max_steps=1,
        per_device_train_batch_size=4,
        learning_rate=1e-3,
        lr_scheduler_type="constant",
        max_length=None,
        bf16=False,
        use_cpu=True,
        gradient_checkpointing=False,
        report_to=[],
        save_strategy="no",
    )
    model, reference = load_model(str(tiny_llava)), load_model(str(tiny_llava))
    trainer = DPOTrainer(
        model=model, ref_model=reference, args=settings, processing_class=processor, train_dataset=rows
    )
    batch = trainer.data_collator([rows[0]])
    objective = build_objective(CaDpoConfig(init_from="original", learning_rate=1), processor, DEFAULT_FAMILY)
    prefix, responses = objective.encode(
        add_pair_weights(pq.read_table(data_folder / "preferences.parquet")).to_pylist()[0]
    )
    lengths = batch["attention_mask"].sum(1).tolist()
    assert [batch["input_ids"][side, : lengths[side]].tolist() for side in (0, 1)] == [
        prefix + responses[0],
        prefix + responses[2],
    ]
    result = trainer.train()
    assert result.training_loss == pytest.approx(0.6931, abs=1e-3)
    changed = [
        (ours - theirs).abs().max() > 0 for ours, theirs in zip(model.parameters(), reference.parameters(), strict=True)
    ]
    assert any(changed)


def test_trl_trains_an_sft_step_on_our_very_tokens(exported, tiny_llava, tmp_path):
    from trl import SFTConfig, SFTTrainer

    from inbol_ray.config.training import SupervisedConfig
    from inbol_ray.models.loading import load_model, load_processor
    from inbol_ray.training.encode import IGNORED
    from inbol_ray.training.objectives import build_objective

    rows = load(exported[0], "idk", tmp_path / "cache")
    processor = load_processor(str(tiny_llava))
    processor.chat_template = DEFAULT_FAMILY.chat.training_template
    settings = SFTConfig(
        output_dir=str(tmp_path / "out"),
        max_steps=1,
        per_device_train_batch_size=4,
        max_length=None,
        bf16=False,
        use_cpu=True,
        gradient_checkpointing=False,
        completion_only_loss=True,
        report_to=[],
        save_strategy="no",
    )
    trainer = SFTTrainer(
        model=load_model(str(tiny_llava)), args=settings, processing_class=processor, train_dataset=rows
    )
    batch = trainer.data_collator([rows[0]])
    objective = build_objective(
        SupervisedConfig(init_from="original", learning_rate=1, data="idk"), processor, DEFAULT_FAMILY
    )
    ids, labels = objective.encoder.encode_conversation(instruction(0, "")["turns"], 1)
    assert batch["input_ids"][0].tolist() == ids and batch["labels"][0].tolist() == labels
    assert labels.count(IGNORED) < len(labels)
    assert trainer.train().training_loss > 1


@pytest.mark.slow
def test_ray_data_writes_all_parts_to_folders_and_stores(data_folder, s3_bucket, tmp_path, monkeypatch):
    from inbol_ray.config.load import load_config
    from inbol_ray.runtime.ray_session import started_ray
    from inbol_ray.store.local_copies import CACHE_VARIABLE, local_copy

    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "copies"))
    left = tmp_path / "exported" / "preferences" / "of_an_earlier_export.parquet"
    left.parent.mkdir(parents=True)
    left.touch()
    with started_ray(load_config(["--config", "jobs/configs/demo.yaml"])):
        for uri in (str(tmp_path / "exported"), f"{s3_bucket.uri}/trl"):
            counts = export_trl(data_folder, uri, s3_bucket.storage)
            assert counts == {"preferences": 8, "idk": 4, "sft": 4, "rejected": 1}
    folder, stored = tmp_path / "exported", Path(local_copy(f"{s3_bucket.uri}/trl", s3_bucket.storage))
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert not left.exists() and files == {
        str(path.relative_to(stored)) for path in stored.rglob("*") if path.is_file()
    }
    assert all((folder / name).read_bytes() == (stored / name).read_bytes() for name in files)
    assert len(load(stored, "sft", tmp_path / "cache")) == 4
    assert (stored / "chat_template.jinja").read_text() == DEFAULT_FAMILY.chat.training_template
    [refused] = pq.read_table(stored / "rejected.parquet").to_pylist()
    assert (refused["id"], refused["reason"]) == ("row6", "unreadable_image")
