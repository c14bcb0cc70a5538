"""The rule for a Ray started here, the machines that the shipped configurations are written for, and their placement."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from inbol_ray.config.load import load_config
from inbol_ray.config.schema import PipelineConfig
from inbol_ray.errors import ResourcesError
from inbol_ray.pipeline import build_stages
from inbol_ray.plan.estimate import object_store_bytes as planned_store
from inbol_ray.plan.estimate import rendered_bytes_in_flight
from inbol_ray.plan.placement import planned_node, warn_placement
from inbol_ray.runtime import resources
from inbol_ray.runtime.machine import (
    LEAST_OBJECT_STORE_BYTES,
    Machine,
    logical_cpus,
    object_store_bytes,
    this_machine,
)
from inbol_ray.runtime.resources import (
    HEAD_RESOURCE,
    NODE_TYPES_VARIABLE,
    NodeType,
    check_asks,
    growth_limits,
    place,
    place_engines,
    replica_resources,
    stage_asks,
)

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "jobs" / "configs").glob("*.yaml"))
DEMO = ROOT / "jobs" / "configs" / "demo.yaml"
HEAD = {"CPU": 0.0, HEAD_RESOURCE: 1.0}
GB = 10**9


def machine(cores: int, memory_gb: float = 64, shared_gb: float = 32, gpus: int = 0) -> Machine:
    return Machine(cores, int(memory_gb * GB), int(shared_gb * GB), gpus)


@pytest.mark.parametrize(
    ("cores", "gpus", "cpus"),
    [(1, 0, 6), (2, 0, 6), (6, 0, 6), (16, 0, 16), (96, 8, 96), (8, 8, 18), (4, 1, 6), (12, 8, 18)],
)
def test_logical_cpus_follow_cores_and_gpus(cores, gpus, cpus):
    assert logical_cpus(machine(cores, gpus=gpus)) == cpus


@pytest.mark.parametrize(
    ("memory_gb", "shared_gb", "store_gb"),
    [(24, 24, 7.2), (512, 64, 60.8), (2000, 1000, 600), (8, 0.064, 0.4), (1, 1, 0.4)],
)
def test_the_object_store_follows_memory_and_shared_memory(memory_gb, shared_gb, store_gb):
    assert object_store_bytes(machine(2, memory_gb, shared_gb)) == pytest.approx(store_gb * GB)


def test_a_ray_started_here_has_what_the_rule_says(tmp_path):
    code = (
        "import json, sys; from inbol_ray.config.load import load_config; from inbol_ray.runtime.ray_session import started_ray\n"
        "with started_ray(load_config(sys.argv[1:])):\n"
        "    import ray; print(json.dumps(ray.cluster_resources()))"
    )

    def resources(*options: str) -> dict:
        command = [sys.executable, "-c", code, "--config", str(DEMO), *options]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    here = this_machine()
    found = resources()
    assert (found["CPU"], found.get("GPU", 0)) == (logical_cpus(here), here.num_gpus)
    # Other programs fill and leave /dev/shm; memory decides where that is large.
    assert found["object_store_memory"] >= LEAST_OBJECT_STORE_BYTES
    if here.shared_memory_bytes > 0.5 * here.memory_bytes:
        assert found["object_store_memory"] == object_store_bytes(here)
    set_by_hand = resources("--ray.num_cpus", "3", "--ray.object_store_memory_bytes", "90000000")
    assert (set_by_hand["CPU"], set_by_hand["object_store_memory"]) == (3, 90_000_000)


def load(file: Path, *options: str) -> PipelineConfig:
    """A shipped configuration, on top of the one that its first line names."""
    below = re.match(r"# On top of (\S+\.yaml)", file.read_text())
    files = [file.with_name(below[1]), file] if below else [file]
    return load_config([text for one in files for text in ("--config", str(one))] + list(options))


def asks_of(config: PipelineConfig, nodes: list[dict], growth: list[NodeType], monkeypatch) -> dict:
    monkeypatch.setattr(resources, "nodes_up", lambda: nodes)
    monkeypatch.setattr(resources, "growth_limits", lambda: growth)
    engine = place_engines(config.engine)
    return {name: stage_asks(stage, engine) for name, stage in build_stages(config).items()}


def kuberay_growth() -> list[NodeType]:
    [cluster] = [one for one in yaml.safe_load_all((ROOT / "cluster/kuberay/raycluster.yaml").read_text()) if one]
    container = cluster["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    return growth_limits({entry["name"]: entry["value"] for entry in container["env"] if "value" in entry})


def aws_growth() -> list[NodeType]:
    config = yaml.safe_load((ROOT / "cluster" / "aws.yaml").read_text())
    [text] = re.findall(NODE_TYPES_VARIABLE + r"='(.*?)'", " ".join(config["head_start_ray_commands"]))
    return growth_limits({NODE_TYPES_VARIABLE: text})


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_every_configuration_fits_the_machine_that_it_is_written_for(file, monkeypatch):
    config = load(file)
    node = planned_node(config)
    check_asks(asks_of(config, [node], [], monkeypatch), [node], [])
    assert warn_placement(build_stages(config), config) == []


def test_a_plan_warns_of_nodes_that_cannot_hold_a_stage():
    config = load(
        ROOT / "jobs" / "configs" / "paper_llava15_7b.yaml", "--plan.gpus_per_node", "4", "--plan.nodes", "[1]"
    )
    text = "\n".join(warn_placement(build_stages(config), config))
    assert "confidence: 1 node of 64 CPU + 4 GPU hold 4 of 8 vLLM engines" in text
    assert "ca_dpo: " in text and "questions: " not in text
    two = load(
        ROOT / "jobs" / "configs" / "paper_llava15_7b.yaml", "--plan.gpus_per_node", "4", "--plan.nodes", "[1, 2]"
    )
    assert warn_placement(build_stages(two), two) == []


def test_blocks_in_flight_fit_the_object_store_of_a_kuberay_node():
    spec = yaml.safe_load((ROOT / "cluster/kuberay/raycluster.yaml").read_text())["spec"]
    [group] = [group for group in spec["workerGroupSpecs"] if group["groupName"] == "gpu"]
    pod = group["template"]["spec"]
    [shm] = [volume["emptyDir"] for volume in pod["volumes"] if volume["name"] == "shm"]
    memory = int(pod["containers"][0]["resources"]["limits"]["memory"].removesuffix("Gi")) << 30
    node = Machine(64, memory, int(shm["sizeLimit"].removesuffix("Gi")) << 30, 8)
    config = load(ROOT / "jobs" / "configs" / "paper_llava15_7b.yaml")
    assert planned_store(config) <= object_store_bytes(node)
    assert 2 * rendered_bytes_in_flight(config) < object_store_bytes(node)


@pytest.mark.parametrize("growth", [kuberay_growth, aws_growth], ids=["kuberay", "aws"])
@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_every_configuration_fits_the_shipped_clusters(file, growth, monkeypatch):
    config = load(file)
    check_asks(asks_of(config, [HEAD], growth(), monkeypatch), [HEAD], growth())


def test_one_node_of_eight_gpus_holds_the_whole_configuration_of_the_paper(monkeypatch):
    config = load(ROOT / "jobs" / "configs" / "paper_llava15_7b.yaml")
    for cores in (8, 96, 192):
        node = {"CPU": float(logical_cpus(machine(cores, 1000, 500, gpus=8))), "GPU": 8.0}
        asks = asks_of(config, [node], [], monkeypatch)
        check_asks(asks, [node], [])
        assert asks["confidence"][0].count == asks["ca_dpo"][0].count == 8
    with pytest.raises(ResourcesError, match="room for 7 of 8 vLLM engines"):
        check_asks(asks, [{"CPU": 96.0, "GPU": 7.0}], [])


def test_a_replica_fits_a_node_of_the_shipped_service(monkeypatch):
    [settings] = [one for one in yaml.safe_load_all((ROOT / "cluster/kuberay/settings.yaml").read_text()) if one]
    config = load(ROOT / settings["data"]["INBOL_CONFIG"])
    [service] = [one for one in yaml.safe_load_all((ROOT / "cluster/kuberay/rayservice.yaml").read_text()) if one]
    [group] = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    node = {"CPU": float(limits["cpu"]), "GPU": float(limits["nvidia.com/gpu"])}
    checkpoints = {model.method or model.path for model in config.serving.models.values()}
    needed = replica_resources(config.engine, len(checkpoints))
    assert place([resources.Ask("replica", 1, needed)], [node]) == [1], f"{needed} does not fit {node}"


@pytest.mark.parametrize(("visible", "gpus"), [(None, 8), ("0,3", 2), ("", 0)])
def test_gpus_that_the_environment_hides_do_not_count(visible, gpus, monkeypatch):
    from ray._private.accelerators.nvidia_gpu import NvidiaGPUAcceleratorManager

    monkeypatch.setattr(NvidiaGPUAcceleratorManager, "get_current_node_num_accelerators", staticmethod(lambda: 8))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert this_machine().num_gpus == gpus
