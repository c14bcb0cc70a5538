"""Training on two real FSDP workers: killed after a checkpoint, run again, and equal to a run that nobody killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from inbol_ray.rows import CONVERSATION

ROOT = Path(__file__).parents[2]
CONFIGS = ["--config", "jobs/configs/demo.yaml", "--config", "tests/ray_local/small.yaml"]
TRAIN = """
import sys
from pathlib import Path
import pyarrow.parquet as pq
from inbol_ray.config.load import load_config
from inbol_ray.config.schema import SupervisedConfig
from inbol_ray.pipeline import started_ray

init, rows, out = sys.argv[1:4]
config = SupervisedConfig(
    data="sft", init_from="original", learning_rate=1e-3, num_epochs=2, global_batch_size=8, checkpoint_every_steps=4
)
with started_ray(load_config(sys.argv[4:])):
    from inbol_ray.training.loop import run_training

    Path(out).mkdir(exist_ok=True)
    run_training(
        pq.read_table(rows), config, name="resumed", init_checkpoint=init, out_dir=Path(out) / "model",
        run_dir=Path(out) / "runs", seed=0,
    )
"""


def start_training(init: Path, rows: Path, out: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", TRAIN, str(init), str(rows), str(out), *CONFIGS]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


@pytest.mark.slow
def test_a_killed_training_ends_with_the_weights_of_an_undisturbed_one(tiny_llava, scene_images, tmp_path):
    from safetensors.torch import load_file

    rows = tmp_path / "rows.parquet"
    examples = [
        {
            "id": f"{n:03d}",
            "images": [scene_images[n % 4]],
            "turns": [{"user": f"What is {n}?", "assistant": f"answer {n % 5}"}],
            "knowledge": "known",
        }
        for n in range(200)
    ]
    pq.write_table(pa.Table.from_pylist(examples, schema=CONVERSATION), rows)

    undisturbed = start_training(tiny_llava, rows, tmp_path / "whole")
    output = undisturbed.communicate(timeout=300)[0]
    assert undisturbed.returncode == 0, output

    killed = start_training(tiny_llava, rows, tmp_path / "killed")
    deadline = time.monotonic() + 200
    while not list((tmp_path / "killed").glob("runs/resumed/step_*")) and time.monotonic() < deadline:
        assert killed.poll() is None, killed.stdout.read()
        time.sleep(0.02)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "killed" / "model").exists(), "the kill came after the end; nothing was tested"
    again = start_training(tiny_llava, rows, tmp_path / "killed")
    output = again.communicate(timeout=300)[0]
    assert again.returncode == 0, output

    resumed_from = json.loads((tmp_path / "killed" / "model" / "training.json").read_text())["resumed_from_step"]
    assert resumed_from > 0 and resumed_from % 4 == 0
    whole = load_file(tmp_path / "whole" / "model" / "model.safetensors")
    resumed = load_file(tmp_path / "killed" / "model" / "model.safetensors")
    start = load_file(tiny_llava / "model.safetensors")
    assert whole.keys() == resumed.keys()
    for name, tensor in whole.items():
        assert (tensor - resumed[name]).abs().max() < 1e-5, name
    assert any((tensor - start[name]).abs().max() > 1e-3 for name, tensor in whole.items())
