import json

import pytest

from inbol_ray.errors import MissingInputError, RowCountError
from inbol_ray.rows import Rejected
from inbol_ray.store.artifacts import Stage, Store
from inbol_ray.store.provenance import code_fingerprint

HERE = "tests_stage_functions"


@pytest.fixture
def functions(tmp_path, monkeypatch):
    """A module of stage functions that log their calls."""
    (tmp_path / f"{HERE}.py").write_text(
        "from pathlib import Path\nfrom inbol_ray.rows import Rejected\n"
        "calls = []\n"
        "def write(context):\n"
        "    calls.append('write'); (context.folder / 'data.txt').write_text('done'); return {'rows': 2}\n"
        "def fail(context):\n"
        "    calls.append('fail'); (context.folder / 'half.txt').write_text('x')\n"
        "    (Path(context.resume) / 'kept.txt').write_text('x'); raise RuntimeError('boom')\n"
        "def reject(context):\n"
        "    context.reject([Rejected('a', 's', 'empty', 'row a is empty')]); context.check_rows(3, 2)\n"
        "def lose(context):\n"
        "    context.check_rows(3, 2)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import importlib

    module = importlib.import_module(HERE)
    module.calls.clear()
    yield module
    import sys

    del sys.modules[HERE]


def stage(function: str, settings: dict | None = None, **inputs) -> Stage:
    return Stage(function, function, f"{HERE}:{function}", settings or {}, inputs)


def test_finished_stages_are_not_computed_again(functions, tmp_path):
    store = Store(tmp_path / "store")
    first = store.compute(stage("write"), None)
    again = store.compute(stage("write"), None)
    assert first == again and functions.calls == ["write"] and first["counts"] == {"rows": 2}


def test_settings_and_inputs_change_the_fingerprint():
    one, two = stage("write", {"a": 1}), stage("write", {"a": 2})
    assert one.fingerprint == stage("write", {"a": 1}).fingerprint != two.fingerprint
    assert stage("fail", read=one).fingerprint != stage("fail", read=two).fingerprint


def test_code_fingerprint_covers_indirect_imports(tmp_path, monkeypatch):
    from inbol_ray.store import provenance

    package = tmp_path / "inbol_ray"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "one.py").write_text("from inbol_ray import two\n")
    (package / "two.py").write_text("from inbol_ray.three import f\n")
    (package / "three.py").write_text("def f(): return 1\n")
    (package / "other.py").write_text("x = 1\n")
    monkeypatch.setattr(provenance, "__file__", str(package / "provenance.py"))
    prints = []
    for name, text in (
        ("other", "x = 2\n"),
        ("three", "def f():\n    'Documented.'\n    return 1  # why\n"),
        ("three", "def f(): return 2\n"),
        ("three", "def f(): return 3\n"),
    ):
        code_fingerprint.cache_clear()
        prints.append(code_fingerprint("inbol_ray.one"))
        (package / f"{name}.py").write_text(text)
    code_fingerprint.cache_clear()
    assert prints[0] == prints[1] == prints[2] != prints[3]


def test_an_unfinished_stage_starts_over_and_keeps_what_it_can_resume(functions, tmp_path):
    store = Store(tmp_path / "store")
    failing = stage("fail")
    for _ in range(2):
        with pytest.raises(RuntimeError, match="boom"):
            store.compute(failing, None)
        assert store.manifest(failing) is None
        assert (store.folder(failing) / "resume" / "kept.txt").exists()
    assert functions.calls == ["fail", "fail"]


def test_missing_input_names_both_stages(functions, tmp_path):
    with pytest.raises(MissingInputError, match="'fail' reads 'data' from stage 'write'"):
        Store(tmp_path).compute(stage("fail", data=stage("write")), None)


def test_rejected_rows_are_kept_and_counted(functions, tmp_path):
    import pyarrow.parquet as pq

    store = Store(tmp_path)
    manifest = store.compute(stage("reject"), None)
    assert manifest["rejected"] == {"empty": 1}
    rows = pq.read_table(store.folder(stage("reject")) / "rejected.parquet").to_pylist()
    assert rows == [Rejected("a", "s", "empty", "row a is empty").to_row()]
    assert json.loads((store.folder(stage("reject")) / "manifest.json").read_text()) == manifest


def test_a_lost_row_is_an_error(functions, tmp_path):
    with pytest.raises(RowCountError, match="3 rows in, but 2 out and 0 rejected"):
        Store(tmp_path).compute(stage("lose"), None)


def test_how_a_training_survives_does_not_make_it_stale():
    from inbol_ray.config.load import load_config
    from inbol_ray.pipeline import SURVIVAL_SETTINGS, build_stages

    def fingerprint(*options: str) -> str:
        config = load_config(["--config", "jobs/configs/demo.yaml", *options])
        return build_stages(config)["ca_dpo"].fingerprint

    whole = fingerprint()
    for name in SURVIVAL_SETTINGS:
        assert fingerprint(f"--training.ca_dpo.{name}", "1") == whole, name
    assert fingerprint("--training.ca_dpo.num_epochs", "1") != whole


def test_a_benchmark_more_leaves_samples_and_checkpoints_as_they_are():
    from inbol_ray.config.load import load_config
    from inbol_ray.pipeline import build_stages, with_ancestors

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
    from inbol_ray.config.load import load_config
    from inbol_ray.pipeline import build_stages

    def settings(*options: str) -> dict:
        return build_stages(load_config(["--config", "jobs/configs/demo.yaml", *options]))["signals"].settings

    assert settings("--scoring.rules", "official") != settings()
    assert settings("--evaluation.max_tokens", "5") != settings()
    assert settings("--evaluation.pairs", "[[original, vizwiz]]") == settings()


def test_where_and_how_fast_a_run_computes_does_not_make_it_stale():
    from inbol_ray.config.load import load_config
    from inbol_ray.pipeline import build_stages

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
    ):
        assert fingerprints(f"--{name}", value) == expected, name
    assert fingerprints("--engine.dtype", "bfloat16") != expected
    corpora = ["--corpora", "[{dataset: vqav2, split: train2014, root: 's3://bucket/vqa'}]"]
    assert fingerprints(*corpora) != fingerprints(*corpora, "--storage.endpoint_url", "http://store:9000")


def test_what_a_file_of_replies_holds_belongs_to_the_evaluation_alone(tmp_path):
    from inbol_ray.config.load import load_config
    from inbol_ray.errors import DataError
    from inbol_ray.pipeline import build_stages

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
