"""The paper's GPU configuration to its end on a cluster of CPU and GPU nodes, on a machine that has no GPU.

The GPUs are logical: every process reserves one and computes on the CPU (`device: cpu`), the trainings over gloo. So
this shows the configuration itself, what each stage asks for, where Ray puts it, and every stage and the server behind
it. It does not prove CUDA kernels, NCCL, the memory and speed of bfloat16 on a GPU, or vLLM's Model Runner V2 and graph
capture, which its CPU build does not have.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from rehearsal import rehearsed

from inbol_ray.config.load import load_config
from inbol_ray.pipeline import build_stages
from inbol_ray.store.artifacts import Store

ROOT = Path(__file__).parents[2]
PAPER = "jobs/configs/paper_llava15_7b.yaml"
STAGES = ["unanswerable", "confidence", "sft", "idk_it", "ca_dpo", "evaluate", "signals", "calibrate"]
SMALL = {"object_store_memory": 150 << 20}
NODES = [{"num_cpus": 2}, {"num_cpus": 4, "num_gpus": 2}, {"num_cpus": 4, "num_gpus": 2}]
"""Beside a head without CPUs, as in cluster/kuberay; fewer CPUs, for each is a process of Ray's that this machine pays
for. `tests/cluster/test_placement.py` has the shipped sizes."""
ASK = """
import base64, json, socket, sys
import httpx
from ray import serve
from inbol_ray.config.load import load_config
from inbol_ray.runtime.ray_session import started_ray
from inbol_ray.serving.app import build_application

image, options = sys.argv[1], sys.argv[2:]
config = load_config(options)
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
with started_ray(config):
    application = build_application(config)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(application, name="inbol")
    uri = "data:image/png;base64," + base64.b64encode(open(image, "rb").read()).decode()
    content = [{"type": "text", "text": "What color is it?"}, {"type": "image_url", "image_url": {"url": uri}}]
    body = {"model": "ca_dpo", "messages": [{"role": "user", "content": content}]}
    answer = httpx.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=body, timeout=120)
    print(json.dumps({"status": answer.status_code, "body": answer.json()}), flush=True)
    serve.shutdown()
"""


REPLY = '{"status"'


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory, tiny_llava, scene_images):
    """Every stage and one request; what each actor of the cluster was and where it ran."""
    import ray
    from ray.cluster_utils import Cluster
    from ray.util.state import list_actors

    folder = tmp_path_factory.mktemp("rehearsal")
    files = ["--config", PAPER, "--config", str(rehearsed(PAPER, tiny_llava, folder, num_processes=2))]
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": True, **SMALL})
    try:
        for node in NODES:
            cluster.add_node(**node, **SMALL)
        options = [*files, "--ray.address", cluster.address]
        pipeline = _run("jobs/pipeline.py", *options)
        served = _run("-c", ASK, scene_images[0], *options)
        ray.init(address=cluster.address, log_to_driver=False)
        gpu_nodes = {node["NodeID"] for node in ray.nodes() if node["Resources"].get("GPU")}
        actors = list_actors(address=cluster.address, limit=5000, detail=True)
        return {
            "config": load_config(options),
            "out": folder / "out",
            "pipeline": pipeline,
            # Ray's own words may follow it while the server goes down.
            "reply": json.loads(next(line for line in served.splitlines() if line.startswith(REPLY))),
            "gpu_nodes": gpu_nodes,
            "actors": actors,
        }
    finally:
        ray.shutdown()
        cluster.shutdown()


def _run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1500,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


def nodes_of(rehearsal, class_name: str) -> set[str]:
    """Nodes of the actors whose class starts so; there must be some. One that its pool gave up before it was placed has
    none."""
    actors = [actor for actor in rehearsal["actors"] if actor.class_name.startswith(class_name)]
    found = {actor.node_id for actor in actors if actor.node_id}
    assert found, sorted({actor.class_name for actor in rehearsal["actors"]})
    return found


@pytest.mark.slow
def test_every_stage_reaches_its_end(rehearsal):
    store, stages = Store(rehearsal["out"] / "artifacts"), build_stages(rehearsal["config"])
    assert set(STAGES) <= stages.keys() and len(stages) >= 13
    for name, stage in stages.items():
        assert store.manifest(stage) is not None, name
    counts = store.manifest(stages["sft"])["counts"]
    assert counts["rows"] > 0 and store.manifest(stages["evaluate"])["counts"]
    for method in ("sft", "idk_it", "ca_dpo"):
        assert (store.folder(stages[method]) / "model" / "model.safetensors").exists()
    results = json.loads((rehearsal["out"] / "results.json").read_text())
    assert {row["method"] for row in results["results"]} == set(rehearsal["config"].evaluation.methods)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["MapWorker(MapBatches(AnswerBlock))", "RayTrainWorker", "ServeReplica:inbol"])
def test_what_computes_runs_on_gpu_nodes(rehearsal, kind):
    assert nodes_of(rehearsal, kind) <= rehearsal["gpu_nodes"]


@pytest.mark.slow
def test_every_engine_and_worker_reserves_a_gpu(rehearsal):
    kinds = ("MapWorker(MapBatches(AnswerBlock))", "RayTrainWorker")
    for actor in rehearsal["actors"]:
        if actor.class_name.startswith(kinds):
            gpus = [amount for name, amount in actor.required_resources.items() if name.startswith("GPU")]
            assert gpus and min(gpus) == 1, (actor.class_name, actor.required_resources)


@pytest.mark.slow
def test_the_server_answers(rehearsal):
    reply = rehearsal["reply"]
    assert reply["status"] == 200, reply
    assert reply["body"]["choices"][0]["message"]["role"] == "assistant" and reply["body"]["model"] == "ca_dpo"
