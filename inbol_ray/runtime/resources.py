"""What a stage asks of the cluster, and whether the cluster can ever give it.

Ray lets work that fits nowhere wait forever. So every ask is computed from the configuration and packed onto the
nodes that the cluster may have at most, before any actor starts.
"""

import json
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace

from inbol_ray.config.machines import EngineConfig
from inbol_ray.errors import ConfigError, ResourcesError
from inbol_ray.runtime.stage import Stage

NODE_TYPES_VARIABLE = "INBOL_RAY_NODE_TYPES"
"""JSON list of NodeType fields: how far the cluster's autoscaler may go. Ray itself tells a job nothing about that.
Every cluster file in `cluster/` sets it."""
COUNTED = ("CPU", "GPU")
HEAD_RESOURCE = "node:__internal_head__"
"""Ray gives this resource to the head alone."""
READER = {"CPU": 1.0}
"""Ray Data's reading tasks, beside engines and training workers: without a CPU for them both wait forever."""


@dataclass(frozen=True)
class Ask:
    """`count` processes at the same time, each on one node, each reserving `resources`; `setting` says how many."""

    what: str
    count: int
    resources: dict[str, float]
    setting: str = ""

    def __str__(self) -> str:
        source = f" ({self.setting})" if self.setting else ""
        return f"{self.count} {self.what} of {describe_resources(self.resources)}{source}"


@dataclass(frozen=True)
class NodeType:
    """A kind of node that the autoscaler starts, at most `max_nodes` of them."""

    name: str
    resources: dict[str, float]
    max_nodes: int


def stage_asks(stage: Stage, engine: EngineConfig) -> list[Ask]:
    """What a stage reserves at the same time when it runs as configured. `engine` has its GPUs decided."""
    reader = Ask("reading task", 1, READER)
    if stage.needs == "workers":
        method = stage.settings.training
        worker = {"CPU": 1.0} | ({"GPU": method.num_gpus_per_worker} if method.num_gpus_per_worker else {})
        count, setting = (
            (method.min_workers, "min_workers") if method.min_workers else (method.num_workers, "num_workers")
        )
        return [Ask("training workers", count, worker, f"training.{stage.name}.{setting}"), reader]
    if stage.needs == "engines":
        return engine_asks(engine, engine.min_engines or engine.num_engines)
    return [reader]


def engine_asks(engine: EngineConfig, count: int) -> list[Ask]:
    """`count` engines, and the process beside them that renders or reads what they answer."""
    setting = "engine.min_engines" if engine.min_engines else "engine.num_engines"
    return [Ask("vLLM engines", count, engine_resources(engine), setting), Ask("renderer", 1, READER)]


def engine_resources(engine: EngineConfig) -> dict[str, float]:
    """What an engine's actor reserves; GPUs are decided."""
    # Ray Data reserves one CPU for an actor that names only GPUs.
    gpus = engine.num_gpus_per_engine
    return {"CPU": 1.0, "GPU": float(gpus)} if gpus else {"CPU": float(engine.num_cpus_per_engine)}


def replica_resources(engine: EngineConfig, num_checkpoints: int) -> dict[str, float]:
    """What a replica of the server reserves on one node: an engine a checkpoint. GPUs are decided."""
    return {name: amount * num_checkpoints for name, amount in engine_resources(engine).items()}


def place_engines(engine: EngineConfig) -> EngineConfig:
    """`engine` with `num_gpus_per_engine` decided: GPUs where the cluster has any or may grow to, else CPUs.

    Ray must be up.
    """
    if engine.num_gpus_per_engine is not None:
        return engine
    has_gpus = any(node.get("GPU") for node in largest_cluster(nodes_up(), growth_limits()))
    return engine.model_copy(update={"num_gpus_per_engine": engine.tensor_parallel_size if has_gpus else 0})


def place(asks: Iterable[Ask], nodes: list[dict[str, float]]) -> list[int]:
    """How many of each ask's processes fit onto `nodes` (resources each) together; the hungriest go first.

    Best fit: a process goes to the node with the fewest GPUs, then CPUs, that holds it, so that GPUs are left for
    those who need them.
    """
    asks = list(asks)
    free = [dict(node) for node in nodes]
    placed = [0] * len(asks)
    order = sorted(range(len(asks)), key=lambda index: _size(asks[index].resources), reverse=True)
    for index in order:
        need = asks[index].resources
        free.sort(key=_size)
        for node in free:
            room = min((math.floor(node.get(name, 0) / amount + 1e-9) for name, amount in need.items()), default=0)
            taken = min(max(room, 0), asks[index].count - placed[index])
            for name, amount in need.items():
                node[name] = node.get(name, 0) - taken * amount
            placed[index] += taken
    return placed


def check_asks(asks: dict[str, list[Ask]], nodes: list[dict[str, float]], growth: list[NodeType]) -> None:
    """Raise ResourcesError, with the numbers, for the first stage whose asks can never fit.

    `asks` by stage name; `nodes` that are up (their total resources); `growth` as far as the autoscaler goes.
    """
    most = largest_cluster(nodes, growth)
    for stage, wanted in asks.items():
        placed = place(wanted, most)
        short = [(ask, count) for ask, count in zip(wanted, placed, strict=True) if count < ask.count]
        if short:
            raise ResourcesError(_explain(stage, wanted, short, nodes, growth))


def largest_cluster(nodes: list[dict[str, float]], growth: list[NodeType]) -> list[dict[str, float]]:
    """The nodes of the cluster at its largest: those that are up, or where it may grow the head and every type in full."""
    if not growth:
        return [_counted(node) for node in nodes]
    heads = [_counted(node) for node in nodes if HEAD_RESOURCE in node]
    return heads + [_counted(kind.resources) for kind in growth for _ in range(kind.max_nodes)]


def waiting_for(asks: list[Ask], nodes: list[dict[str, float]]) -> str:
    """What the autoscaler still has to bring for a stage to run in full, for a person; empty when all is there."""
    # The reading task is a precaution: a stage whose engines or workers are there is not waiting for it.
    asks = [ask for ask in asks if ask.setting] or asks
    placed = place(asks, [_counted(node) for node in nodes])
    missing = [f"{ask} ({count} fit now)" for ask, count in zip(asks, placed, strict=True) if count < ask.count]
    return f"waiting for nodes: {' and '.join(missing)}, cluster has {_total(nodes)}" if missing else ""


def nodes_up() -> list[dict[str, float]]:
    """Total resources of every live node of the connected cluster."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def growth_limits(environ: dict[str, str] | None = None) -> list[NodeType]:
    """How far the cluster may grow, as its file says in NODE_TYPES_VARIABLE; empty for a cluster of fixed size.

    Raises ConfigError when the variable is not what it should be.
    """
    text = (os.environ if environ is None else environ).get(NODE_TYPES_VARIABLE, "")
    if not text:
        return []
    try:
        return [
            NodeType(str(entry["name"]), _counted(entry["resources"]), int(entry["max_nodes"]))
            for entry in json.loads(text)
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{NODE_TYPES_VARIABLE} is {text!r} ({type(error).__name__}: {error}); expected a JSON list such as "
            '[{"name": "gpu", "resources": {"CPU": 8, "GPU": 1}, "max_nodes": 8}]'
        ) from None


def describe_resources(resources: dict[str, float]) -> str:
    return " + ".join(f"{amount:g} {name}" for name, amount in resources.items())


def _explain(stage: str, wanted: list[Ask], short: list[tuple[Ask, int]], nodes, growth) -> str:
    lacking = " and ".join(f"{count} of {ask}" for ask, count in short)
    kinds = ", ".join(f"up to {kind.max_nodes} {kind.name} ({describe_resources(kind.resources)})" for kind in growth)
    grows = f"its autoscaler adds {kinds}" if growth else f"no growth is declared ({NODE_TYPES_VARIABLE} is not set)"
    most = largest_cluster(nodes, growth)
    mends = [
        f"lower {ask.setting} to {count}" for ask, _ in short if ask.setting and (count := _largest(ask, wanted, most))
    ]
    mends.append("give the cluster more or larger nodes")
    if not growth:
        mends.append("pass --ray.nodes_may_join true if nodes can still join")
    return (
        f"stage {stage!r} can never run here: it asks for {' and '.join(map(str, wanted))} at the same time, and the "
        f"cluster has room for {lacking}. Up now: {_total(nodes)}; {grows}. To mend it, {', or '.join(mends)}"
    )


def _largest(ask: Ask, wanted: list[Ask], most: list[dict[str, float]]) -> int:
    """The largest count of `ask` with which all that is wanted fits; 0 if there is none."""
    for count in range(ask.count - 1, 0, -1):
        asks = [replace(ask, count=count) if one is ask else one for one in wanted]
        if place(asks, most) == [one.count for one in asks]:
            return count
    return 0


def _total(nodes: list[dict[str, float]]) -> str:
    sums = {name: sum(node.get(name, 0) for node in nodes) for name in COUNTED}
    return f"{describe_resources({name: total for name, total in sums.items() if total or name == 'CPU'})} on " + (
        f"{len(nodes)} node{'s' * (len(nodes) != 1)}"
    )


def _counted(resources: dict[str, float]) -> dict[str, float]:
    return {name: float(resources[name]) for name in COUNTED if resources.get(name)}


def _size(resources: dict[str, float]) -> tuple[float, float]:
    return resources.get("GPU", 0), resources.get("CPU", 0)
