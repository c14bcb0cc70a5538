"""Training whose driver or node is killed with SIGKILL: it ends with the curve and the weights of an undisturbed one."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIGS = ["--config", "jobs/configs/demo.yaml", "--config", "tests/ray_local/small.yaml"]
NUM_STEPS = 50
TRAIN = """
import sys
from pathlib import Path
import pyarrow.parquet as pq
from inbol_ray.config.training import SupervisedConfig, TrackingConfig

CONFIG = SupervisedConfig(
    data="sft", init_from="original", learning_rate=1e-3, num_epochs=2, global_batch_size=8, checkpoint_every_steps=4
)

def train(name, init, rows, out):
    from inbol_ray.training.run import run_training

    run_training(
        pq.read_table(rows), CONFIG, name=name, init_checkpoint=init, out_dir=out,
        run_dir=f"{out}/runs", seed=0, tracking=TrackingConfig(report_every_steps=1),
    )
"""
ON_THIS_MACHINE = """
from inbol_ray.config.load import load_config
from inbol_ray.runtime.ray_session import started_ray

with started_ray(load_config(sys.argv[4:])):
    train("resumed", *sys.argv[1:4])
"""
ON_A_CLUSTER = """
import os, threading, time
os.environ["RAY_TRAIN_V2_ENABLED"] = "1"
import psutil
import ray
from ray.cluster_utils import Cluster

init, rows, out = sys.argv[1:4]
small = {"object_store_memory": 100_000_000}
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **small})
nodes = [cluster.add_node(num_cpus=3, **small) for _ in range(2)]
ray.init(address=cluster.address, log_to_driver=False)
train("whole", init, rows, f"{out}/whole")

def kill_a_node():
    log = Path(out) / "killed" / "runs" / "logs" / "metrics.jsonl"
    while not log.exists() or len(log.read_text().splitlines()) < 6:
        time.sleep(0.02)
    workers = [p for p in psutil.Process().children(recursive=True) if "RayTrainWorker" in "".join(p.cmdline()[:1])]
    for node in nodes:
        raylet = node.all_processes["raylet"][0].process.pid
        if any(parent.pid == raylet for parent in workers[0].parents()):
            cluster.remove_node(node, allow_graceful=False)
            print("KILLED a node after step", len(log.read_text().splitlines()), flush=True)
            return
    print("no node holds the worker", flush=True)

threading.Thread(target=kill_a_node, daemon=True).start()
train("killed", init, rows, f"{out}/killed")
ray.shutdown()
cluster.shutdown()
"""


def start(program: str, *arguments) -> subprocess.Popen:
    command = [sys.executable, "-c", TRAIN + program, *map(str, arguments), *CONFIGS]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def losses(folder: Path) -> list[float]:
    lines = [json.loads(line) for line in (folder / "logs" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, NUM_STEPS + 1))
    return [line["loss"] for line in lines]


def assert_same_training(folder: Path, whole: Path, init: Path) -> None:
    from safetensors.torch import load_file

    resumed_from = json.loads((folder / "logs" / "summary.json").read_text())["resumed_from_step"]
    assert resumed_from > 0 and resumed_from % 4 == 0 and resumed_from < NUM_STEPS
    assert losses(folder) == pytest.approx(losses(whole), abs=1e-5)
    expected, found, before = (
        load_file(path / "model.safetensors") for path in (whole / "model", folder / "model", init)
    )
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert (tensor - found[name]).abs().max() < 1e-5, name
    assert any((tensor - before[name]).abs().max() > 1e-3 for name, tensor in expected.items())


@pytest.mark.slow
def test_a_killed_driver(tiny_llava, conversation_rows, tmp_path):
    undisturbed = start(ON_THIS_MACHINE, tiny_llava, conversation_rows, tmp_path / "whole")
    output = undisturbed.communicate(timeout=300)[0]
    assert undisturbed.returncode == 0, output

    killed = start(ON_THIS_MACHINE, tiny_llava, conversation_rows, tmp_path / "killed")
    checkpoints = tmp_path / "killed" / "runs" / "resumed"
    deadline = time.monotonic() + 200
    while not list(checkpoints.glob("step_*")) and time.monotonic() < deadline:
        assert killed.poll() is None, killed.stdout.read()
        time.sleep(0.02)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "killed" / "model").exists(), "the kill came after the end; nothing was tested"
    # What an upload that the kill cut off leaves: a folder with some of a checkpoint's files.
    torn = checkpoints / "step_0000048"
    torn.mkdir()
    (torn / "__0_0.distcp").write_bytes(b"half of a shard")

    again = start(ON_THIS_MACHINE, tiny_llava, conversation_rows, tmp_path / "killed")
    output = again.communicate(timeout=300)[0]
    assert again.returncode == 0, output
    assert_same_training(tmp_path / "killed", tmp_path / "whole", tiny_llava)


@pytest.mark.slow
def test_a_killed_node(tiny_llava, conversation_rows, tmp_path):
    process = start(ON_A_CLUSTER, tiny_llava, conversation_rows, tmp_path)
    output = process.communicate(timeout=400)[0]
    assert process.returncode == 0 and "KILLED a node after step" in output, output
    assert_same_training(tmp_path / "killed", tmp_path / "whole", tiny_llava)
