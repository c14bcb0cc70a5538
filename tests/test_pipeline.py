"""The graph of stages: what makes a stage stale, and what does not."""

import pytest

from inbol_ray.config.load import load_config
from inbol_ray.errors import DataError
from inbol_ray.pipeline import build_stages, with_ancestors
from inbol_ray.runtime.stage import Stage, described


def test_how_a_training_survives_does_not_make_it_stale():
    def fingerprint(*options: str) -> str:
        config = load_config(["--config", "jobs/configs/demo.yaml", *options])
        return build_stages(config)["ca_dpo"].fingerprint

    whole = fingerprint()
    for name in ("min_workers", "max_failures", "checkpoint_every_steps", "num_workers", "micro_batch_tokens"):
        assert fingerprint(f"--training.ca_dpo.{name}", "1") == whole, name
    assert fingerprint("--tracking.report_every_steps", "3") == whole
    assert fingerprint("--training.ca_dpo.num_epochs", "1") != whole


def test_a_manifest_says_what_a_stage_ran_with():
    config = load_config(["--config", "jobs/configs/demo.yaml", "--training.ca_dpo.num_workers", "4"])
    settings = described(build_stages(config)["ca_dpo"])["settings"]
    assert settings["training"]["num_workers"] == 4 and settings["tracking"]["report_every_steps"] == 20


def test_with_dropout_the_layout_of_workers_is_another_result():
    def fingerprint(*options: str) -> str:
        config = load_config(["--config", "jobs/configs/paper_llava15_7b.yaml", *options])
        return build_stages(config)["sft"].fingerprint

    for option in ("num_workers", "micro_batch_tokens"):
        value = {"num_workers": "4", "micro_batch_tokens": "4096"}[option]
        assert fingerprint(f"--training.sft.{option}", value) != fingerprint(), option
        without = ("--training.sft.lora.dropout", "0")
        assert fingerprint(*without, f"--training.sft.{option}", value) == fingerprint(*without), option


def test_a_benchmark_more_leaves_samples_and_checkpoints_as_they_are():
    def stages(*options: str) -> dict[str, Stage]:
        return build_stages(load_config(["--config", "jobs/configs/demo.yaml", *options]))

    fewer = (
        "--evaluation.benchmarks",
        "[{dataset: vizwiz, split: test, root: 'toyworld:vizwiz', domain: out_of_domain}]",
    )
    one, other = stages(), stages(*fewer)
    stale = {name for name in one if one[name].fingerprint != other[name].fingerprint}
    assert stale == {"benchmarks", "leakage", "test_confidence", "evaluate", "signals", "calibrate"}
    # What is trained on is compared with the new benchmark all the same.
    for name in ("unanswerable", "confidence", "ca_dpo", "evaluate"):
        assert "leakage" in with_ancestors(other, [name])

    dropping = ("--leakage.on_leak", "drop")
    one, other = stages(*dropping), stages(*dropping, *fewer)
    assert one["ca_dpo"].fingerprint != other["ca_dpo"].fingerprint


def test_signals_depend_on_how_replies_are_judged_and_on_no_other_evaluation():
    def signals(*options: str) -> str:
        return build_stages(load_config(["--config", "jobs/configs/demo.yaml", *options]))["signals"].fingerprint

    assert signals("--scoring.rules", "official") != signals()
    assert signals("--evaluation.max_tokens", "5") != signals()
    assert signals("--evaluation.pairs", "[[original, vizwiz]]") == signals()


def test_where_and_how_fast_a_run_computes_does_not_make_it_stale():
    demo = ["--config", "jobs/configs/demo.yaml"]

    def fingerprints(*options: str) -> set[str]:
        return {stage.fingerprint for stage in build_stages(load_config([*demo, *options])).values()}

    expected = fingerprints()
    for name, value in (
        ("engine.num_engines", "7"),
        ("engine.blocks_per_batch", "9"),
        ("engine.num_gpus_per_engine", "1"),
        ("storage.endpoint_url", "http://store:9000"),
        ("output_dir", "s3://bucket/run"),
        ("sampling.publish_uri", "s3://bucket/published"),
        ("serving.max_body_bytes", "1000000"),
        ("ray.num_cpus", "9"),
    ):
        assert fingerprints(f"--{name}", value) == expected, name
    assert fingerprints("--engine.dtype", "bfloat16") != expected
    corpora = ["--corpora", "[{dataset: vqav2, split: train2014, root: 's3://bucket/vqa'}]"]
    assert fingerprints(*corpora) != fingerprints(*corpora, "--storage.endpoint_url", "http://store:9000")


def test_what_a_file_of_replies_holds_belongs_to_the_evaluation_alone(tmp_path):
    file = tmp_path / "replies.jsonl"

    def fingerprints() -> dict[str, str]:
        options = ["--evaluation.models", f"{{theirs: {{replies: {file}}}}}"]
        stages = build_stages(load_config(["--config", "jobs/configs/demo.yaml", *options]))
        return {name: stage.fingerprint for name, stage in stages.items()}

    with pytest.raises(DataError, match="replies.jsonl: cannot be read"):
        fingerprints()
    file.write_text('{"id": "a", "reply": "b"}')
    first = fingerprints()
    assert fingerprints() == first
    file.write_text('{"id": "a", "reply": "c"}')
    second = fingerprints()
    assert {name for name in first if first[name] != second[name]} == {"evaluate"}
