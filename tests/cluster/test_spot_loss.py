"""FSDP training on nodes that go: it goes on with the worker that is left, or waits, by configuration; and it is stopped."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from inbol_ray.training.checkpoint import INDEX

ROOT = Path(__file__).parents[2]
CONFIGS = ["--config", "jobs/configs/demo.yaml", "--config", "tests/ray_local/small.yaml"]
TRAIN = """
import sys
import pyarrow.parquet as pq
from inbol_ray.config.load import load_config
from inbol_ray.config.training import SupervisedConfig
from inbol_ray.runtime.ray_session import started_ray
from inbol_ray.runtime.progress_sinks import start_board

init, rows, out, min_workers = sys.argv[1:5]
config = SupervisedConfig(
    data="sft", init_from="original", learning_rate=1e-3, num_epochs=3, global_batch_size=8, checkpoint_every_steps=4,
    num_workers=2, min_workers=int(min_workers) or None,
)
with started_ray(load_config(sys.argv[5:])):
    from inbol_ray.training.run import run_training

    board = start_board()  # through which SIGTERM reaches the workers
    run_training(
        pq.read_table(rows), config, name="spot", init_checkpoint=init, out_dir=out, run_dir=f"{out}/runs",
        seed=0,
    )
"""


@pytest.fixture
def nodes():
    """A cluster of a head without CPUs and two nodes that hold one training worker each."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 200 << 20})
    workers = [cluster.add_node(num_cpus=1, object_store_memory=100 << 20) for _ in range(2)]
    yield cluster, workers
    cluster.shutdown()


def train(cluster, init: Path, rows: Path, out: Path, min_workers: int) -> subprocess.Popen:
    command = [sys.executable, "-c", TRAIN, str(init), str(rows), str(out), str(min_workers), *CONFIGS]
    command += ["--ray.address", cluster.address]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for_checkpoint(process: subprocess.Popen, out: Path) -> None:
    """Until Ray Train has entered a checkpoint into its index; a shard's folder is there before that."""
    deadline = time.monotonic() + 200
    while '"checkpoint_dir_name"' not in read_index(out):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
        time.sleep(0.02)
    assert not (out / "model").exists(), "the training had ended before its node was lost"


def read_index(out: Path) -> str:
    index = out / "runs" / "spot" / INDEX
    return index.read_text() if index.exists() else ""


def end(process: subprocess.Popen, out: Path) -> dict:
    output = process.communicate(timeout=240)[0]
    assert process.returncode == 0, output
    return json.loads((out / "logs" / "summary.json").read_text())


@pytest.mark.slow
def test_training_goes_on_with_fewer_workers_or_waits(nodes, tiny_llava, conversation_rows, tmp_path):
    from safetensors.torch import load_file

    cluster, workers = nodes
    whole = end(train(cluster, tiny_llava, conversation_rows, tmp_path / "whole", 0), tmp_path / "whole")
    assert whole["num_workers"] == 2 and whole["resumed_from_step"] == 0

    fewer = train(cluster, tiny_llava, conversation_rows, tmp_path / "fewer", 1)
    wait_for_checkpoint(fewer, tmp_path / "fewer")
    cluster.remove_node(workers[0], allow_graceful=False)
    summary = end(fewer, tmp_path / "fewer")
    assert summary["num_workers"] == 1 and summary["resumed_from_step"] >= 4

    cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
    waiting = train(cluster, tiny_llava, conversation_rows, tmp_path / "waiting", 0)
    wait_for_checkpoint(waiting, tmp_path / "waiting")
    cluster.remove_node(workers[1], allow_graceful=False)
    time.sleep(10)
    assert waiting.poll() is None and not (tmp_path / "waiting" / "model").exists()
    cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
    summary = end(waiting, tmp_path / "waiting")
    assert summary["num_workers"] == 2 and summary["resumed_from_step"] >= 4

    expected = load_file(tmp_path / "whole" / "model" / "model.safetensors")
    for name in ("fewer", "waiting"):
        weights = load_file(tmp_path / name / "model" / "model.safetensors")
        largest = max(float((weights[key] - tensor).abs().max()) for key, tensor in expected.items())
        print(name, "differs by at most", largest)
        # One worker adds up a batch's gradients in another order than two.
        assert largest < 1e-4, name


@pytest.mark.slow
def test_sigterm_leaves_a_checkpoint_of_the_step_it_came_in(nodes, tiny_llava, conversation_rows, tmp_path):
    cluster, _ = nodes
    stopped = train(cluster, tiny_llava, conversation_rows, tmp_path, 0)
    wait_for_checkpoint(stopped, tmp_path)
    stopped.send_signal(signal.SIGTERM)
    output = stopped.communicate(timeout=120)[0]
    assert stopped.returncode == 128 + signal.SIGTERM and not (tmp_path / "model").exists(), output
    steps = re.findall(r'"checkpoint_dir_name": ?"step_(\d+)"', read_index(tmp_path))
    summary = end(train(cluster, tiny_llava, conversation_rows, tmp_path, 0), tmp_path)
    assert summary["resumed_from_step"] == max(map(int, steps)) > 4
