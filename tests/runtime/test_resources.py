"""Asks of the shipped configurations, packing them onto nodes, and what a refusal says."""

import json

import pytest

from inbol_ray.config.load import load_config
from inbol_ray.config.machines import EngineConfig
from inbol_ray.errors import ConfigError, ResourcesError
from inbol_ray.pipeline import build_stages
from inbol_ray.runtime import resources
from inbol_ray.runtime.resources import (
    HEAD_RESOURCE,
    NODE_TYPES_VARIABLE,
    Ask,
    NodeType,
    check_asks,
    growth_limits,
    place,
    place_engines,
    stage_asks,
    waiting_for,
)

PAPER = "jobs/configs/paper_llava15_7b.yaml"
HEAD = {"CPU": 4.0, HEAD_RESOURCE: 1.0}
GPU_NODE = {"CPU": 8.0, "GPU": 1.0, "memory": 1e9}


def asks_of(config_file: str, *overrides: str) -> dict[str, list[Ask]]:
    config = load_config(["--config", config_file, *overrides])
    return {name: stage_asks(stage, config.engine) for name, stage in build_stages(config).items()}


def test_asks_follow_the_configuration():
    asks = asks_of(PAPER, "--engine.num_engines", "3")
    for name in ("unanswerable", "confidence", "evaluate"):
        engines, renderer = asks[name]
        assert (engines.count, engines.resources) == (3, {"CPU": 1.0, "GPU": 1.0})
        assert (renderer.what, renderer.count, renderer.resources) == ("renderer", 1, {"CPU": 1.0})
    fewer = asks_of(PAPER, "--engine.min_engines", "2")["confidence"][0]
    assert (fewer.count, fewer.setting) == (2, "engine.min_engines")
    two_gpus = asks_of(PAPER, "--engine.tensor_parallel_size", "2", "--engine.num_gpus_per_engine", "2")["confidence"][
        0
    ]
    assert two_gpus.resources == {"CPU": 1.0, "GPU": 2.0}
    assert (asks["ca_dpo"][0].count, asks["ca_dpo"][0].resources) == (8, {"CPU": 1.0, "GPU": 1.0})
    assert [ask.resources for ask in asks["data"]] == [{"CPU": 1.0}]
    elastic = asks_of(PAPER, "--training.ca_dpo.min_workers", "2")["ca_dpo"][0]
    assert (elastic.count, elastic.setting) == (2, "training.ca_dpo.min_workers")
    demo = asks_of("jobs/configs/demo.yaml", "--engine.num_cpus_per_engine", "1.5")
    assert (demo["confidence"][0].count, demo["confidence"][0].resources) == (2, {"CPU": 1.5})
    assert (demo["base"][0].count, demo["base"][0].resources) == (2, {"CPU": 1.0})


def test_processes_do_not_spread_over_nodes():
    four_halves = [{"GPU": 0.5, "CPU": 8.0}] * 4
    assert place([Ask("engines", 4, {"GPU": 1.0})], four_halves) == [0]
    assert place([Ask("engines", 4, {"GPU": 0.5})], four_halves) == [4]
    assert place([Ask("engines", 3, {"CPU": 0.1})], [{"CPU": 0.3}]) == [3]


def test_cpu_work_leaves_gpu_nodes_to_those_who_need_them():
    engines, tasks = Ask("engines", 2, {"GPU": 1.0, "CPU": 8.0}), Ask("tasks", 4, {"CPU": 1.0})
    assert place([tasks, engines], [GPU_NODE, HEAD, GPU_NODE]) == [4, 2]
    # A node's CPUs count once: eight CPUs under the engine leave none for the task.
    assert place([tasks, engines], [GPU_NODE, GPU_NODE]) == [0, 2]


def test_refusal_gives_the_numbers_and_the_mend():
    with pytest.raises(ResourcesError) as caught:
        check_asks(asks_of(PAPER), [HEAD], [NodeType("gpu", {"CPU": 8.0, "GPU": 1.0}, 4)])
    text = str(caught.value)
    assert "stage 'unanswerable'" in text
    assert "8 vLLM engines of 1 CPU + 1 GPU (engine.num_engines)" in text
    assert "room for 4 of" in text and "Up now: 4 CPU on 1 node" in text
    assert "up to 4 gpu (8 CPU + 1 GPU)" in text and "lower engine.num_engines to 4" in text


def test_the_mend_leaves_room_for_everything():
    asks = {
        "confidence": [Ask("vLLM engines", 9, {"CPU": 1.0}, "engine.num_engines"), Ask("reading task", 1, {"CPU": 1.0})]
    }
    with pytest.raises(ResourcesError, match="lower engine.num_engines to 3"):
        check_asks(asks, [{HEAD_RESOURCE: 1.0}], [NodeType("worker", {"CPU": 2.0}, 2)])


def test_a_cluster_that_can_grow_far_enough_is_not_refused():
    asks = asks_of(PAPER)
    check_asks(asks, [HEAD], [NodeType("gpu", {"CPU": 8.0, "GPU": 1.0}, 8)])
    # Nodes that are up already are among those the autoscaler may have.
    with pytest.raises(ResourcesError):
        check_asks(asks, [HEAD] + [GPU_NODE] * 4, [NodeType("gpu", {"CPU": 8.0, "GPU": 1.0}, 7)])


def test_a_fixed_cluster_counts_only_what_is_up():
    asks = {"confidence": [Ask("vLLM engines", 2, {"CPU": 2.0}, "engine.num_engines")]}
    check_asks(asks, [HEAD], [])
    with pytest.raises(ResourcesError, match="--ray.nodes_may_join true"):
        check_asks(asks, [{"CPU": 3.0}], [])


def test_waiting_says_what_is_missing():
    asks = asks_of(PAPER)["confidence"]
    text = waiting_for(asks, [HEAD, GPU_NODE, GPU_NODE])
    assert "8 vLLM engines of 1 CPU + 1 GPU (engine.num_engines) (2 fit now)" in text
    assert "cluster has 20 CPU + 2 GPU on 3 nodes" in text and "reading" not in text
    assert waiting_for(asks, [GPU_NODE] * 8) == ""


def test_growth_limits_come_from_the_cluster_file():
    entry = {"name": "gpu", "resources": {"CPU": 8, "GPU": 1, "memory": 5}, "max_nodes": 2}
    assert growth_limits({NODE_TYPES_VARIABLE: json.dumps([entry])}) == [NodeType("gpu", {"CPU": 8, "GPU": 1}, 2)]
    assert growth_limits({}) == []
    for text in ("{", '[{"name": "gpu"}]', "[3]", '[{"name": "a", "resources": 3, "max_nodes": 1}]'):
        with pytest.raises(ConfigError, match=NODE_TYPES_VARIABLE):
            growth_limits({NODE_TYPES_VARIABLE: text})


@pytest.mark.parametrize(
    ("nodes", "growth", "gpus"),
    [([HEAD], [], 0), ([HEAD, GPU_NODE], [], 2), ([HEAD], [{"name": "g", "resources": GPU_NODE, "max_nodes": 2}], 2)],
    ids=["none", "up", "to come"],
)
def test_engines_take_gpus_where_there_are_or_will_be_any(nodes, growth, gpus, monkeypatch):
    monkeypatch.setattr(resources, "nodes_up", lambda: nodes)
    monkeypatch.setenv(NODE_TYPES_VARIABLE, json.dumps(growth) if growth else "")
    undecided = EngineConfig(tensor_parallel_size=2)
    assert place_engines(undecided).num_gpus_per_engine == gpus
    decided = EngineConfig(num_gpus_per_engine=0.5)
    assert place_engines(decided) == decided
