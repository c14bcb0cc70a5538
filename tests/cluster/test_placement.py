"""Where Ray puts eight engines and eight training workers of the paper's configuration: logical nodes, real placement.

Nothing is computed. Placement groups of what each stage asks for are made on a cluster whose nodes have the CPUs and
GPUs of the shipped KubeRay groups, and on one machine with eight GPUs.
"""

import os
from collections import Counter

import pytest
from rehearsal import kuberay_nodes

from inbol_ray.config.load import load_config
from inbol_ray.errors import ResourcesError
from inbol_ray.pipeline import build_stages
from inbol_ray.runtime.machine import Machine, logical_cpus
from inbol_ray.runtime.resources import check_asks, growth_limits, nodes_up, place_engines, stage_asks

PAPER = ["--config", "jobs/configs/paper_llava15_7b.yaml"]
SMALL = {"object_store_memory": 80 << 20, "include_dashboard": False}
EIGHT_GPUS = {"CPU": float(logical_cpus(Machine(96, 10**12, 10**11, 8))), "GPU": 8.0}
CLUSTERS = {
    "one machine": [EIGHT_GPUS],
    "kuberay": list(kuberay_nodes().values()),
}


@pytest.fixture(scope="module", params=CLUSTERS)
def connected(request):
    """A connection to a cluster of logical nodes; the first is the head. None of them starts a worker."""
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    try:
        for number, node in enumerate(CLUSTERS[request.param]):
            system = {"_system_config": {"prestart_worker_first_driver": False}} if number == 0 else {}
            cluster.add_node(num_cpus=int(node["CPU"]), num_gpus=int(node.get("GPU", 0)), **SMALL, **system)
        ray.init(address=cluster.address, log_to_driver=False)
        yield ray
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture
def asks(connected, monkeypatch):
    monkeypatch.delenv("INBOL_RAY_NODE_TYPES", raising=False)
    config = load_config(PAPER)
    engine = place_engines(config.engine)
    return {name: stage_asks(stage, engine) for name, stage in build_stages(config).items()}


def test_no_stage_is_refused(asks):
    check_asks(asks, nodes_up(), growth_limits(os.environ))
    with pytest.raises(ResourcesError):
        check_asks({"confidence": asks["confidence"] * 3}, nodes_up(), growth_limits(os.environ))


@pytest.mark.parametrize("stage", ["confidence", "sft", "idk_it", "ca_dpo", "evaluate"])
def test_all_that_a_stage_asks_for_is_there_at_once_and_on_gpu_nodes(connected, asks, stage):
    ray = connected
    bundles = [ask.resources for ask in asks[stage] for _ in range(ask.count)]
    assert sum("GPU" in bundle for bundle in bundles) == 8
    room = ray.util.placement_group(bundles, strategy="PACK")
    try:
        assert room.wait(60), f"no room for {' and '.join(map(str, asks[stage]))}"
        nodes = ray.util.placement_group_table(room)["bundles_to_node_id"]
        gpus = {node["NodeID"]: node["Resources"].get("GPU", 0) for node in ray.nodes()}
        taken = Counter(nodes[index] for index, bundle in enumerate(bundles) if "GPU" in bundle)
        assert sum(taken.values()) == 8 and all(count <= gpus[node] for node, count in taken.items())
    finally:
        ray.util.remove_placement_group(room)
