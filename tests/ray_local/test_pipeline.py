"""The real pipeline, small: real Ray, real vLLM, real FSDP on two workers; killed half-way and run again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from inbol_ray.config.load import load_config
from inbol_ray.pipeline import build_stages
from inbol_ray.store.artifacts import Store

ROOT = Path(__file__).parents[2]
CONFIGS = ["--config", "jobs/configs/demo.yaml", "--config", "tests/ray_local/small.yaml"]
METHODS = ["original", "refusal_prompt", "sft", "idk_it", "idk_it_matched", "ca_dpo"]


def start(out_dir: Path, *options: str) -> subprocess.Popen:
    command = [sys.executable, "jobs/pipeline.py", *CONFIGS, "--output_dir", str(out_dir), *options]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # A shell starts background jobs with Ctrl-C ignored, and children inherit that; a user's terminal does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def processes_of(session: int) -> list[str]:
    """Command lines of the live processes whose session is `session`, or that name it as an ancestor's session."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found.append((entry / "cmdline").read_text().replace("\0", " "))
        except (OSError, ValueError):
            continue
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A pipeline that was killed with SIGKILL in the middle of CA-DPO's data stages, then run to its end."""
    out_dir = tmp_path_factory.mktemp("pipeline")
    artifacts = out_dir / "artifacts"
    first = start(out_dir)
    deadline = time.monotonic() + 600
    while first.poll() is None and time.monotonic() < deadline:
        if list(artifacts.glob("unanswerable-*/manifest.json")):
            break
        time.sleep(0.2)
    assert first.poll() is None, first.stdout.read()
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    finished = {path.parent.name: path.stat().st_mtime_ns for path in artifacts.glob("*/manifest.json")}
    second = start(out_dir)
    output = second.communicate(timeout=900)[0]
    assert second.returncode == 0, output
    config = load_config([*CONFIGS, "--output_dir", str(out_dir)])
    return {"out": out_dir, "finished": finished, "output": output, "config": config, "stages": build_stages(config)}


def artifact(run, name: str) -> Path:
    return Store(run["out"] / "artifacts").folder(run["stages"][name])


def test_a_killed_run_goes_on_where_it_was(run):
    for name, written in run["finished"].items():
        assert (run["out"] / "artifacts" / name / "manifest.json").stat().st_mtime_ns == written
    assert run["output"].count("finished before") == len(run["finished"])


def test_every_question_is_sampled_once_with_every_sample_kept(run):
    answers = [
        row
        for stage in ("confidence", "test_confidence")
        for row in pq.read_table(artifact(run, stage) / "answers.parquet").to_pylist()
    ]
    expected = {
        row["id"]
        for stage, file in (("questions", "train"), ("benchmarks", "benchmarks"), ("unanswerable", "questions"))
        for row in pq.read_table(artifact(run, stage) / f"{file}.parquet", columns=["id"]).to_pylist()
    }
    assert len(answers) == len(expected) and {row["id"] for row in answers} == expected
    for row in answers:
        assert len(row["responses"]) == len(row["outcomes"]) == 4
        assert row["confidence"] == pytest.approx(row["outcomes"].count("correct") / 4)


def test_results_hold_every_method_and_domain(run):
    results = json.loads((run["out"] / "results.json").read_text())
    cells = {(row["method"], row["domain"]): row for row in results["results"]}
    assert cells.keys() == {(method, domain) for method in METHODS for domain in ("in_domain", "out_of_domain")}
    for row in cells.values():
        assert row["s_trust"] == pytest.approx(2 * row["acc"] + row["refr"] - 100)
        assert row["num_questions"] == 40
    # An empty reply is an error too, and a model of so few steps may give some; no question was left without a reply.
    predictions = pq.read_table(artifact(run, "evaluate") / "predictions.parquet").to_pylist()
    assert not [row for row in predictions if row["outcome"] == "error" and row["response"].strip()]
    assert {stage["stage"] for stage in results["stages"]} == set(run["stages"])


def test_thresholds_are_fitted_and_every_method_has_a_curve(run):
    from inbol_ray.calibration.calibration_file import load_calibration

    fitted = load_calibration(artifact(run, "calibrate") / "ca_dpo.json", str(artifact(run, "ca_dpo") / "model"))
    assert fitted.num_questions == 20 and fitted.signals.keys() == {"first_token", "agreement"}
    assert sum(kind.num_questions for kind in fitted.kinds) == 20
    assert {"vqa10", "mc"} <= {kind.answer_kind for kind in fitted.kinds}
    assert fitted.conditions.prompts.answer_suffix is False and fitted.conditions.engine["dtype"] == "float32"
    signals = pq.read_table(artifact(run, "signals") / "signals.parquet").to_pylist()
    assert len(signals) == 80 * len(METHODS) + 20
    assert all((row["agreement"] is None) == (row["part"] == "test") for row in signals)
    curves = json.loads((run["out"] / "results.json").read_text())["risk_coverage"]
    assert {(row["method"], row["domain"]) for row in curves} == {
        (method, domain) for method in METHODS for domain in ("in_domain", "out_of_domain")
    }
    for row in curves:
        assert row["curve"][-1] == pytest.approx([100, row["error_rate"]], abs=0.01)
        assert row["coverage_at_5"] <= row["coverage_at_10"] <= row["coverage_at_20"]


def test_report_is_one_self_contained_page(run):
    page = (run["out"] / "report.html").read_text()
    assert "<script src" not in page and "<link" not in page and "data:image/png;base64," in page


def test_training_changed_the_models_and_vllm_loads_them(run):
    weights = {name: (artifact(run, name) / "model" / "model.safetensors").read_bytes() for name in METHODS[2:]}
    assert len(set(weights.values())) == len(weights)
    # every method has answered through vLLM, and transformers loads the same folder
    from inbol_ray.models.loading import load_model, load_processor

    model = load_model(str(artifact(run, "ca_dpo") / "model"))
    assert load_processor(str(artifact(run, "ca_dpo") / "model")).tokenizer.eos_token == "</s>"
    assert sum(parameter.numel() for parameter in model.parameters()) > 100_000


def test_stopping_leaves_no_process_behind(tmp_path):
    process = start(tmp_path)
    while not list(tmp_path.glob("artifacts/toyworld-*/manifest.json")):
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 130 and "finished stages are skipped" in output
    deadline = time.monotonic() + 20
    while processes_of(process.pid) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert processes_of(process.pid) == []
