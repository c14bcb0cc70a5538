"""The whole pipeline with its artifacts on a real S3 server: nothing of a run stays on a local disk but copies."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from inbol_ray.config.load import load_config
from inbol_ray.pipeline import build_stages
from inbol_ray.store.artifacts import open_store
from inbol_ray.store.lineage import find_garbage
from inbol_ray.store.local_copies import CACHE_VARIABLE

ROOT = Path(__file__).parents[2]
CONFIGS = ["--config", "jobs/configs/demo.yaml", "--config", "tests/ray_local/small.yaml"]


def run(job: str, *options: str, cache: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, f"jobs/{job}.py", *options]
    environment = os.environ | {CACHE_VARIABLE: str(cache)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400)


@pytest.mark.slow
def test_every_stage_runs_on_a_store(s3_bucket, tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "reader"))
    options = [
        *CONFIGS,
        "--output_dir",
        f"{s3_bucket.uri}/run",
        "--storage.endpoint_url",
        s3_bucket.storage.endpoint_url,
    ]
    options += ["--storage.region", s3_bucket.storage.region]
    first = run("pipeline", *options, cache=tmp_path / "cache")
    assert first.returncode == 0, first.stdout + first.stderr
    # Another machine, with nothing copied yet, finds it all finished.
    second = run("pipeline", *options, cache=tmp_path / "other")
    stages = build_stages(config := load_config(options))
    assert second.returncode == 0 and second.stdout.count("finished before") == len(stages)

    store = open_store(config)
    assert all(store.manifest(stage) for stage in stages.values())
    assert find_garbage(store, [stage.artifact_id for stage in stages.values()]) == []
    predictions = pq.read_table(store.folder(stages["evaluate"]) / "predictions.parquet").to_pylist()
    assert len(predictions) == 6 * 80
    # A model of so few steps may give empty replies, which count as errors; a fault would leave its reason.
    assert not [row for row in predictions if row["outcome"] == "error" and row["response"].strip()]
    assert all(image.startswith(s3_bucket.uri) for row in predictions for image in row["images"])
    answers = pq.read_table(store.folder(stages["confidence"]) / "answers.parquet").to_pylist()
    assert len({row["id"] for row in answers}) == len(answers) > 0
    client = s3_bucket.server.client()
    results = json.loads(client.get_object(Bucket=s3_bucket.name, Key="run/results.json")["Body"].read())
    assert {stage["stage"] for stage in results["stages"]} == set(stages)
    page = client.get_object(Bucket=s3_bucket.name, Key="run/report.html")["Body"].read()
    assert b"data:image/png;base64," in page

    listed = run("artifacts", "ls", *options, cache=tmp_path / "other")
    assert listed.returncode == 0 and all(stage.artifact_id in listed.stdout for stage in stages.values())
    lineage = run("artifacts", "lineage", "ca_dpo", *options, cache=tmp_path / "other").stdout
    assert f"data: {stages['data'].artifact_id}" in lineage and f"init: {stages['sft'].artifact_id}" in lineage
    planned = run("plan", *options, cache=tmp_path / "other")
    assert planned.returncode == 0 and f"measured: {stages['base'].artifact_id}" in planned.stdout
