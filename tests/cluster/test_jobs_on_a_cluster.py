"""Jobs on a real local cluster: submitted, refused, watched, stopped, killed, and left by their nodes.

One configuration runs undisturbed and disturbed. Every draw in it is greedy, so both must end alike.
"""

import json
import re
import shutil
import urllib.error
import urllib.request
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from local_cluster import LocalCluster, run_local_cluster

from inbol_ray.config.load import load_config
from inbol_ray.pipeline import build_stages
from inbol_ray.store.artifacts import open_store

ROOT = Path(__file__).parents[2]
OPTIONS = [
    *("--config", "jobs/configs/demo.yaml", "--config", str(ROOT / "tests" / "ray_local" / "small.yaml")),
    *("--engine.num_engines", "1", "--engine.batch_size", "64"),
    *("--sampling.num_samples", "1", "--sampling.temperature", "1e-6"),
    *("--unanswerable.generation_temperature", "1e-6"),
    *("--training.base.checkpoint_every_steps", "5", "--training.base.num_epochs", "2"),
    *("--training.ca_dpo.checkpoint_every_steps", "3", "--training.ca_dpo.num_epochs", "2"),
    *("--evaluation.methods", "[original, sft, ca_dpo]"),
]

READER = "Read"
"""How the title of a process that reads a corpus starts."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """No work on the head: what a node runs is lost with it. Worker nodes come when there is work."""
    options = ("--head-cpus", "0", "--max-workers", "2", "--idle-timeout-s", "15")
    with run_local_cluster(tmp_path_factory.mktemp("cluster"), *options) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def undisturbed(cluster, tmp_path_factory):
    """Output folder of all stages up to `evaluate` that nobody disturbed, on a cluster without nodes at its beginning."""
    out = tmp_path_factory.mktemp("undisturbed")
    assert cluster.worker_nodes() == set()
    cluster.submit("undisturbed", "evaluate", *OPTIONS, "--output_dir", str(out))
    record = cluster.wait("undisturbed", 600)
    assert record["status"] == "SUCCEEDED", cluster.logs("undisturbed")
    return out


def artifact(out: Path, stage: str) -> Path:
    config = load_config([*OPTIONS, "--output_dir", str(out)])
    return open_store(config).folder(build_stages(config)[stage])


def finished(out: Path, stage: str) -> bool:
    return any(out.glob(f"artifacts/{stage}-*/manifest.json"))


def stage_of(cluster: LocalCluster, name: str) -> str:
    return (cluster.job(name)["metadata"] or {}).get("stage", "")


def kill_node_under(cluster: LocalCluster, process: str, name: str) -> None:
    """Kill a node on which such a process of a job runs, as soon as there is one."""
    cluster.until(lambda: cluster.nodes_running(process), 120, name)
    cluster.kill_node(sorted(cluster.nodes_running(process))[0])


def assert_same_results(out: Path, expected: Path) -> None:
    """Every stage's rows are the same, and every trained weight to what a float32 sum in another order leaves."""
    from safetensors.torch import load_file

    for stage, file, columns in (
        ("questions", "train.parquet", ["id", "question", "gold_answers"]),
        ("unanswerable", "questions.parquet", ["id", "question"]),
        ("confidence", "answers.parquet", ["id", "responses", "outcomes", "confidence"]),
        ("data", "preferences.parquet", ["id"]),
        ("evaluate", "predictions.parquet", ["id", "method", "response", "outcome"]),
    ):
        one, other = (pq.read_table(artifact(path, stage) / file, columns=columns) for path in (out, expected))
        assert one.equals(other), f"{stage}/{file}"
    for stage in ("base", "sft", "ca_dpo"):
        one, other = (load_file(artifact(path, stage) / "model" / "model.safetensors") for path in (out, expected))
        assert one.keys() == other.keys()
        for name, tensor in one.items():
            assert (tensor - other[name]).abs().max() < 1e-4, f"{stage}: {name}"


def test_nodes_come_with_work_and_go_without(cluster, undisturbed):
    # `undisturbed` has run on nodes that were not there before it.
    cluster.until(lambda: not cluster.worker_nodes(), 90)


def test_a_job_that_never_fits_is_refused_with_the_numbers(cluster, tmp_path):
    cluster.submit("too-large", "confidence", *OPTIONS, "--engine.num_engines", "9", "--output_dir", str(tmp_path))
    record = cluster.wait("too-large", 60)
    assert record["status"] == "FAILED" and record["driver_exit_code"] == 1
    text = cluster.logs("too-large")
    assert "asks for 9 vLLM engines of 1 CPU (engine.num_engines)" in text and "up to 2 worker (2 CPU)" in text
    assert "Traceback" not in text and not any(tmp_path.glob("artifacts/*/manifest.json"))


def test_a_wrong_option_is_exit_code_2(cluster):
    cluster.submit("misspelt", "confidence", *OPTIONS, "--engine.num_engine", "2")
    record = cluster.wait("misspelt", 60)
    assert record["driver_exit_code"] == 2 and "did you mean 'num_engines'" in cluster.logs("misspelt")


def test_results_in_the_job_folder_are_refused(cluster):
    cluster.submit("relative", "confidence", *OPTIONS, "--output_dir", "build/here")
    record = cluster.wait("relative", 60)
    assert record["driver_exit_code"] == 1 and "absolute path that every node reaches" in cluster.logs("relative")


def test_nobody_gets_in_without_the_token(cluster):
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{cluster.address}/api/jobs/", timeout=10)
    assert caught.value.code == 401


def test_work_survives_lost_nodes_a_stop_and_a_killed_driver(cluster, undisturbed, tmp_path):
    out = tmp_path / "out"
    options = (*OPTIONS, "--output_dir", str(out))

    def checkpoints(method: str) -> list[int]:
        return [int(path.name.rpartition("_")[2]) for path in out.glob(f"artifacts/{method}-*/resume/{method}/step_*")]

    def wait_for_checkpoint(method: str, name: str) -> None:
        cluster.until(lambda: checkpoints(method) or finished(out, method), 200, name)
        assert not finished(out, method), f"{method} had ended before anything was done to it"

    cluster.submit("stopped", "evaluate", *options)
    kill_node_under(cluster, "_write_shard", "stopped")  # instruct
    cluster.until(lambda: stage_of(cluster, "stopped") == "vision" and cluster.worker_nodes(), 200, "stopped")
    cluster.kill_node(sorted(cluster.worker_nodes())[0])  # its tasks are too short to be found by name
    wait_for_checkpoint("base", "stopped")
    assert cluster.ray("job", "stop", "stopped").returncode == 0
    assert cluster.wait("stopped", 90)["status"] == "STOPPED"
    assert "stopped; run the same command again" in cluster.logs("stopped")
    stopped_at = max(checkpoints("base"))
    assert not finished(out, "base"), "base had ended before it was stopped"

    cluster.submit("driver-killed", "evaluate", *options)
    kill_node_under(cluster, "RayTrainWorker", "driver-killed")
    for stage in ("unanswerable", "confidence"):
        cluster.until(lambda stage=stage: stage_of(cluster, "driver-killed") == stage, 200, "driver-killed")
        kill_node_under(cluster, "MapWorker", "driver-killed")
    wait_for_checkpoint("ca_dpo", "driver-killed")
    cluster.kill_driver("driver-killed")
    assert cluster.wait("driver-killed", 60)["status"] == "FAILED"

    cluster.submit("last", "evaluate", *options)
    cluster.until(lambda: stage_of(cluster, "last") == "evaluate", 200, "last")
    kill_node_under(cluster, "MapWorker", "last")
    assert cluster.wait("last")["status"] == "SUCCEEDED", cluster.logs("last")

    summary = json.loads((artifact(out, "base") / "logs" / "summary.json").read_text())
    assert summary["resumed_from_step"] >= stopped_at > 0
    assert_same_results(out, undisturbed)


def test_a_node_lost_while_signals_are_measured_changes_nothing(cluster, undisturbed, tmp_path):
    shutil.copytree(undisturbed, tmp_path / "lost")
    found = []
    for out, name in ((undisturbed, "measured"), (tmp_path / "lost", "lost")):
        cluster.submit(name, "calibrate", *OPTIONS, "--output_dir", str(out))
        if name == "lost":
            kill_node_under(cluster, "MapWorker(MapBatches(AnswerBlock))", name)
        assert cluster.wait(name)["status"] == "SUCCEEDED", cluster.logs(name)
        columns = ["id", "part", "method", "response", "wrong"]
        found.append(pq.read_table(artifact(out, "signals") / "signals.parquet", columns=columns))
    assert found[0].equals(found[1])


def test_a_node_lost_while_corpora_are_read_loses_no_question(cluster, scene_images, tmp_path):
    shutil.copy(scene_images[0], tmp_path / "scene.png")
    rows = [{"id": n, "question": f"What is {n}?", "image": "scene.png", "answers": ["red"]} for n in range(30_000)]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    out = tmp_path / "out"
    corpora = json.dumps([{"dataset": "own", "split": "train", "root": str(tmp_path)}])
    options = (*OPTIONS, "--corpora", corpora, "--output_dir", str(out))
    code = (
        "import sys; from inbol_ray.config.load import load_config; from inbol_ray.run import run_stages; from inbol_ray.runtime.job import run_job; "
        "run_job(lambda: run_stages(load_config(sys.argv[1:]), ['questions']))"
    )
    cluster.submit_command("read", "python", "-c", code, *options)
    cluster.until(lambda: cluster.job("read")["metadata"].get("stage") == "questions", 200, "read")
    kill_node_under(cluster, READER, "read")
    assert cluster.wait("read")["status"] == "SUCCEEDED", cluster.logs("read")
    [path] = out.glob("artifacts/questions-*/train.parquet")
    assert pq.read_table(path)["id"].to_pylist() == [f"own:train:{n}" for n in range(30_000)]


def test_the_dashboard_shows_what_a_job_does(cluster, tmp_path):
    options = (*OPTIONS, "--output_dir", str(tmp_path), "--training.base.num_epochs", "12")
    cluster.submit("watched", "base_model", *options)

    def message() -> str:
        return cluster.job("watched")["message"]

    cluster.until(lambda: stage_of(cluster, "watched") == "base" and "steps" in message(), 200, "watched")
    assert re.fullmatch(r"base progress [\d,]+/[\d,]+ steps  loss \d+\.\d+", message())
    assert re.fullmatch(r"base-[0-9a-f]{12}", cluster.job("watched")["metadata"]["artifact"])

    cluster.until(lambda: cluster.metrics("ray_inbol_done", stage="base"), 60)
    [done] = cluster.metrics("ray_inbol_done", stage="base")
    assert 'job="watched"' in done and 'unit="steps"' in done
    assert cluster.metrics("ray_inbol_measure", stage="base", name="loss")
    # A stage that has ended long ago is still there.
    cluster.until(lambda: cluster.metrics("ray_inbol_rows", stage="instruct", kind="conversations"), 30)

    lines = [json.loads(line) for line in cluster.log_file("inbol_ray-watched.jsonl").splitlines()]
    assert all({"time", "job", "event", "stage", "artifact"} <= line.keys() for line in lines)
    assert {line["job"] for line in lines} == {"watched"}
    assert {"started", "finished", "progress"} <= {line["event"] for line in lines}
    cluster.ray("job", "stop", "watched")
    assert cluster.wait("watched", 90)["status"] == "STOPPED"
