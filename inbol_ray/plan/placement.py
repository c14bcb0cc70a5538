"""Whether the nodes that a plan is made for can hold what each stage asks for, before there is a cluster to ask."""

from collections.abc import Mapping

from inbol_ray.config.schema import PipelineConfig
from inbol_ray.plan.memory import gpus_per_engine
from inbol_ray.runtime.machine import Machine, logical_cpus
from inbol_ray.runtime.resources import describe_resources, place, stage_asks
from inbol_ray.runtime.stage import Stage


def planned_node(config: PipelineConfig) -> dict[str, float]:
    """CPUs and GPUs of the node that the configuration is written for (`plan.node_cpus`, `plan.gpus_per_node`); no GPUs
    where nothing reserves any."""
    plan = config.plan
    uses_gpus = gpus_per_engine(config) or any(method.num_gpus_per_worker for method in config.training.values())
    gpus = plan.gpus_per_node if uses_gpus else 0
    # Memory decides nothing about CPUs.
    cpus = logical_cpus(Machine(plan.node_cpus, memory_bytes=0, shared_memory_bytes=0, num_gpus=gpus))
    return {"CPU": float(cpus)} | ({"GPU": float(gpus)} if gpus else {})


def warn_placement(stages: Mapping[str, Stage], config: PipelineConfig) -> list[str]:
    """One sentence for each stage that not even the largest cluster of the plan's table can hold."""
    node, most = planned_node(config), max(config.plan.nodes)
    engine = config.engine.model_copy(update={"num_gpus_per_engine": gpus_per_engine(config)})
    warnings = []
    for name, stage in stages.items():
        asks = stage_asks(stage, engine)
        counts = place(asks, [node] * most)
        short = [f"{count} of {ask}" for ask, count in zip(asks, counts, strict=True) if count < ask.count]
        if short:
            warnings.append(
                f"{name}: {most} node{'s' * (most != 1)} of {describe_resources(node)} hold {' and '.join(short)} only; ask for "
                "less, or correct plan.node_cpus, plan.gpus_per_node and plan.nodes"
            )
    return warnings
