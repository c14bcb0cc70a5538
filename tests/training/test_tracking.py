"""Logs of a training: every step once, also after a crash; and the card beside the model."""

import importlib.util
import json
import struct
from types import SimpleNamespace

import pytest

from inbol_ray.config.training import TrackingConfig
from inbol_ray.errors import ConfigError
from inbol_ray.training.tracking import Tracker, check_packages


def make_run(folder, **method):
    return SimpleNamespace(
        name="ca_dpo",
        run_dir=str(folder),
        num_steps=7,
        progress=None,
        init_checkpoint="base",
        seed=0,
        method=method,
    )


def track(folder, first_step: int, steps, *, every: int = 1, writes: bool = True, **tracking) -> Tracker:
    config = TrackingConfig(report_every_steps=every, **tracking)
    tracker = Tracker(make_run(folder, beta=0.1), config, first_step=first_step, writes=writes)
    for step in steps:
        tracker.record(step, {"loss": 1.0 / step, "tokens": 10.0})
    return tracker


def curve(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "logs" / "metrics.jsonl").read_text().splitlines()]


def tensorboard_scalars(folder) -> list[tuple[str, int, float]]:
    """Scalars of all event files: records of (length, checksum, message, checksum)."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted((folder / "logs").glob("events.out.tfevents.*")):
        data, start = path.read_bytes(), 0
        while start < len(data):
            (length,) = struct.unpack_from("<Q", data, start)
            event = Event.FromString(data[start + 12 : start + 12 + length])
            found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
            start += 12 + length + 4
    return found


def test_a_step_that_runs_again_after_a_crash_is_logged_once(tmp_path):
    track(tmp_path, 0, range(1, 6))
    with open(tmp_path / "logs" / "metrics.jsonl", "a") as file:
        file.write('{"step": 6, "lo')  # the crash
    track(tmp_path, 3, range(4, 8)).finish(num_workers=2)
    assert [line["step"] for line in curve(tmp_path)] == list(range(1, 8))
    assert json.loads((tmp_path / "logs" / "summary.json").read_text())["resumed_from_step"] == 3


def test_a_report_holds_means_and_sums_since_the_last(tmp_path):
    tracker = track(tmp_path, 0, range(1, 8), every=3)
    assert [line["step"] for line in curve(tmp_path)] == [3, 6, 7]
    first, _, last = curve(tmp_path)
    assert first["loss"] == pytest.approx((1 + 1 / 2 + 1 / 3) / 3) and first["tokens"] == 30
    assert last["tokens"] == 10 and tracker.latest["step"] == 7


def test_tensorboard_gets_every_metric(tmp_path):
    track(tmp_path, 0, range(1, 4)).finish(num_workers=2)
    scalars = tensorboard_scalars(tmp_path)
    assert [(step, value) for tag, step, value in scalars if tag == "train/loss"] == [
        (step, pytest.approx(1 / step)) for step in (1, 2, 3)
    ]
    assert {tag for tag, _, _ in scalars} == {"train/loss", "train/tokens"}


def test_other_workers_write_nothing(tmp_path):
    tracker = track(tmp_path, 0, range(1, 4), writes=False)
    tracker.finish(num_workers=2)
    assert tracker.has_news and tracker.latest["loss"] == pytest.approx(1 / 3)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def mlflow(monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # a folder instead of a server
    return pytest.importorskip("mlflow", reason="the optional package mlflow is not installed")


def test_mlflow_keeps_one_run_over_a_resume(tmp_path, mlflow):
    uri = (tmp_path / "server").as_uri()
    track(tmp_path, 0, range(1, 4), mlflow_tracking_uri=uri)
    track(tmp_path, 2, range(3, 8), mlflow_tracking_uri=uri).finish(num_workers=2)
    client = mlflow.MlflowClient(tracking_uri=uri)
    [run] = client.search_runs([client.get_experiment_by_name("inbol_ray").experiment_id])
    history = client.get_metric_history(run.info.run_id, "loss")
    assert {metric.step for metric in history} == set(range(1, 8))
    assert run.info.status == "FINISHED" and run.data.params["beta"] == "0.1"


def test_an_mlflow_that_takes_no_more_stops_no_training(tmp_path, mlflow, caplog):
    uri = (tmp_path / "server").as_uri()
    tracker = track(tmp_path, 0, range(1, 3), mlflow_tracking_uri=uri)
    mlflow.MlflowClient(tracking_uri=uri).delete_run((tmp_path / "logs" / "mlflow_run_id").read_text())
    tracker.record(3, {"loss": 1.0})
    tracker.finish(num_workers=2)
    assert [line["step"] for line in curve(tmp_path)] == [1, 2, 3]
    assert "MLflow took no metrics" in caplog.text


@pytest.fixture
def offline_wandb(monkeypatch):
    wandb = pytest.importorskip("wandb", reason="the optional package wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    return wandb


def wandb_records(data: bytes) -> list[bytes]:
    """Records of an offline file, which is LevelDB's log format after 7 bytes: blocks of 32 KiB hold pieces of records,
    each after (checksum, length, kind); the last piece of a record is of kind 1 or 4."""
    records, parts, start = [], [], 7
    while start + 7 <= len(data):
        left = 32768 - start % 32768
        if left < 7:
            start += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, start)
        parts.append(data[start + 7 : start + 7 + length])
        start += 7 + length
        if kind in (1, 4):
            records.append(b"".join(parts))
            parts = []
    return records


def wandb_history(folder) -> dict[str, list[dict]]:
    """Run's id -> the rows that its offline files hold, oldest file first."""
    from wandb.proto.wandb_internal_pb2 import Record

    found = {}
    for path in sorted(folder.glob("logs/wandb/offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime_ns):
        for record in map(Record.FromString, wandb_records(path.read_bytes())):
            if record.HasField("history"):
                items = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
                found.setdefault(path.stem.removeprefix("run-"), []).append(items)
    return found


def test_weights_and_biases_keeps_one_run_over_a_resume(tmp_path, offline_wandb):
    track(tmp_path, 0, range(1, 4), wandb_project="refusals").pause()  # as a training that is asked to stop
    track(tmp_path, 3, range(4, 8), wandb_project="refusals").finish(num_workers=2)
    [(run_id, rows)] = wandb_history(tmp_path).items()
    assert run_id == (tmp_path / "logs" / "wandb_run_id").read_text()
    assert [(row["_step"], row["train/loss"]) for row in rows] == [(k, pytest.approx(1 / k)) for k in range(1, 8)]


def test_a_tracker_without_its_package_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for field, package in (("mlflow_tracking_uri", "mlflow"), ("wandb_project", "wandb")):
        with pytest.raises(ConfigError, match=rf"tracking.{field} is 'x', but .*install inbol-ray\[{package}\]"):
            check_packages(TrackingConfig(**{field: "x"}))
    check_packages(TrackingConfig())
