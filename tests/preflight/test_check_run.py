"""What a run loads is checked before its first stage, all of it at once; and the disk that it fills."""

import shutil
from types import SimpleNamespace

import pytest
from damaged_checkpoints import WITHOUT_PROCESSOR_FIELDS, damaged, edit, remove

from inbol_ray.config.load import load_config
from inbol_ray.config.schema import PipelineConfig
from inbol_ray.errors import CheckpointError, ConfigError, ResourcesError
from inbol_ray.pipeline import build_stages
from inbol_ray.preflight.check import check_run
from inbol_ray.run import run_stages
from inbol_ray.serving.app import build_application
from inbol_ray.store.artifacts import open_store

METHOD = {"kind": "supervised", "data": "sft", "init_from": "original", "learning_rate": 1e-4}


def pipeline_config(folder, base, **sections):
    values = {
        "name": "checked",
        "output_dir": str(folder / "out"),
        "base_model": {"kind": "checkpoint", "path": str(base)},
        "training": {"sft": METHOD},
        "evaluation": {"benchmarks": [], "methods": ["original", "sft"]},
    }
    return PipelineConfig.model_validate(values | sections)


def check(config, names=None):
    stages = build_stages(config)
    check_run(config, [stages[name] for name in names or stages], open_store(config))


def test_all_problems_of_all_checkpoints_come_before_the_first_stage(tiny_llava, tmp_path, monkeypatch):
    base = damaged(tiny_llava, tmp_path / "base", edit("processor_config.json", patch_size=8))
    other = damaged(tiny_llava, tmp_path / "other", edit("config.json", model_type="idefics3"))
    config = pipeline_config(
        tmp_path,
        base,
        training={"sft": METHOD | {"lora": {"target_modules": ".*text_model.*"}}},
        evaluation={
            "benchmarks": [],
            "methods": ["original", "sft"],
            "models": {"a": {"checkpoint": str(other)}, "b": {"checkpoint": str(other), "refusal_instruction": True}},
        },
    )
    monkeypatch.setattr("inbol_ray.run.compute", lambda *_: pytest.fail("a stage was started"))
    with pytest.raises(CheckpointError) as refusal:
        run_stages(config)
    head, *lines = str(refusal.value).split("\n  ")
    assert head.startswith("3 problems")
    assert [line.partition(": ")[0] for line in lines] == [
        "base_model.path",
        "base_model.path",
        "evaluation.models.a.checkpoint and evaluation.models.b.checkpoint",
    ]
    assert "36 tokens" in lines[0] and "training.sft.lora" in lines[1] and "'idefics3'" in lines[2]


def test_only_what_the_stages_load_is_checked(tiny_llava, tmp_path):
    config = pipeline_config(
        tmp_path,
        tmp_path / "missing",
        evaluation={"benchmarks": [], "methods": ["original"], "models": {"a": {"checkpoint": "/nowhere"}}},
    )
    check(config, ["questions", "benchmarks", "leakage"])
    with pytest.raises(CheckpointError, match=r"^1 problem .*\n  base_model.path: .*missing: no such folder"):
        check(config, ["confidence"])
    with pytest.raises(CheckpointError, match=r"^2 problems .*\n.*\n  evaluation.models.a.checkpoint: /nowhere"):
        check(config, ["confidence", "evaluate"])
    (tmp_path / "replies.jsonl").write_text("{}")
    models = {"a": {"replies": str(tmp_path / "replies.jsonl")}}
    from_file = {"benchmarks": [], "methods": ["original"], "models": models}
    with pytest.raises(CheckpointError, match="^1 problem "):  # a file of replies is no checkpoint
        check(pipeline_config(tmp_path, tmp_path / "missing", evaluation=from_file), ["evaluate"])
    demo = load_config(["--config", "jobs/configs/demo.yaml", "--output_dir", str(tmp_path)])
    check(demo)  # a toy world makes its own base model


def test_a_folder_without_processor_fields_is_no_reason_to_stop(tiny_llava, tmp_path):
    check(pipeline_config(tmp_path, damaged(tiny_llava, tmp_path / "base", WITHOUT_PROCESSOR_FIELDS)))


def test_models_that_do_not_fit_the_disk_are_refused_with_the_numbers(tiny_llava, tmp_path, monkeypatch):
    """616,000 weights of float32 are 2.5 MB a model; three resumable checkpoints of what trains are 7 times that."""
    config = pipeline_config(tmp_path, tiny_llava)
    free = {"bytes": 30 * 10**6}
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free["bytes"], total=10**12))
    check(config, ["sft"])
    free["bytes"] = 15 * 10**6
    with pytest.raises(
        ResourcesError, match=r"has 15.0 MB free, .* 1 models \(2.5 MB: sft\), .* \(\d\d.\d MB at a time"
    ):
        check(config, ["sft"])
    adapter = METHOD | {"lora": {"rank": 4}}
    check(pipeline_config(tmp_path, tiny_llava, training={"sft": adapter}), ["sft"])  # only the adapter is resumable
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "none")
    check(pipeline_config(tmp_path, tiny_llava, output_dir="s3://bucket/out"), ["sft"])  # a store's room nobody knows


def test_what_a_killed_training_left_is_on_the_disk_already(tiny_llava, tmp_path, monkeypatch):
    config = pipeline_config(tmp_path, tiny_llava)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=15 * 10**6, total=10**12))
    with pytest.raises(ResourcesError):
        check(config, ["sft"])
    left = tmp_path / "out" / "artifacts" / build_stages(config)["sft"].artifact_id / "resume" / "step_0000200"
    left.mkdir(parents=True)
    (left / "shard").write_bytes(bytes(10 * 10**6))
    check(config, ["sft"])


def test_models_to_serve_are_checked_before_a_replica_starts(tiny_llava, tmp_path):
    base = damaged(tiny_llava, tmp_path / "base", remove("model.safetensors"))
    other = damaged(tiny_llava, tmp_path / "other", edit("config.json", image_token_index=7))
    serving = {"models": {"base": {"method": "original"}, "own": {"path": str(other)}, "sft": {"method": "sft"}}}
    with pytest.raises(CheckpointError, match="^2 problems") as refusal:
        build_application(pipeline_config(tmp_path, base, serving=serving))
    assert "serving.models.own.path: " in str(refusal.value) and "base_model.path: " in str(refusal.value)


def test_an_unknown_quantization_comes_before_the_first_stage(tiny_llava, tmp_path, monkeypatch):
    monkeypatch.setattr("inbol_ray.run.compute", lambda *_: pytest.fail("a stage was started"))
    with pytest.raises(ConfigError, match="engine.quantization is 'fp9'; vLLM knows .*fp8"):
        check(pipeline_config(tmp_path, tiny_llava, engine={"quantization": "fp9"}))


def test_an_endpoints_missing_key_comes_before_the_first_stage(tiny_llava, tmp_path, monkeypatch):
    monkeypatch.setattr("inbol_ray.run.compute", lambda *_: pytest.fail("a stage was started"))
    for name in ("FIRST_KEY", "SECOND_KEY"):
        monkeypatch.delenv(name, raising=False)
    models = {
        name: {"endpoint": {"url": "http://h/v1", "model": "m", "api_key_env": key}}
        for name, key in (("a", "FIRST_KEY"), ("b", "SECOND_KEY"), ("c", None))
    }
    evaluation = {"benchmarks": [], "methods": [], "models": models}
    config = pipeline_config(tmp_path, tmp_path / "missing", evaluation=evaluation)  # a base model that nobody asks
    with pytest.raises(ConfigError) as refusal:
        check(config, ["evaluate"])
    first, second = str(refusal.value).splitlines()
    assert first.startswith("evaluation.models.a.endpoint.api_key_env: ") and "FIRST_KEY is not set" in first
    assert "SECOND_KEY" in second
    for name in ("FIRST_KEY", "SECOND_KEY"):
        monkeypatch.setenv(name, "canary")
    check(config, ["evaluate"])
    evaluate = build_stages(config)["evaluate"]
    assert "canary" not in str(evaluate.settings) + str(config.model_dump())
    # How and with which key an endpoint is asked makes no finished evaluation stale; its address does.
    assert (
        build_stages(with_endpoints(config, api_key_env="OTHER", timeout_s=9))["evaluate"].fingerprint
        == evaluate.fingerprint
    )
    assert build_stages(with_endpoints(config, url="http://h:1/v1"))["evaluate"].fingerprint != evaluate.fingerprint


def test_a_judge_is_checked_with_the_rest(tiny_llava, tmp_path, monkeypatch):
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    far = {"endpoint": {"url": "http://h/v1", "model": "m", "api_key_env": "JUDGE_KEY"}}
    config = pipeline_config(tmp_path, tiny_llava, scoring={"judge": {"for": "refusal"} | far})
    check(config, ["evaluate"])
    with pytest.raises(ConfigError, match="^scoring.judge.endpoint.api_key_env: .*JUDGE_KEY is not set"):
        check(config, ["judge"])
    config = pipeline_config(tmp_path, tiny_llava, scoring={"judge": {"for": "refusal", "checkpoint": "/nowhere"}})
    with pytest.raises(CheckpointError, match="\n  scoring.judge.checkpoint: /nowhere"):
        check(config, ["judge"])


def with_endpoints(config, **fields):
    values = config.model_dump()
    for model in values["evaluation"]["models"].values():
        model["endpoint"] |= fields
    return PipelineConfig.model_validate(values)
