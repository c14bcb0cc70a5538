"""Work and rates -> seconds, GPU-hours, what-if over nodes, and warnings where a stage cannot scale.

A rate is measured where the store has a finished stage of that name on the same base model; else it follows from the
assumptions in the section `plan`, and says so.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inbol_ray.confidence.judging import ROWS_PER_TASK
from inbol_ray.confidence.judging import UNIT as JUDGING
from inbol_ray.config.schema import PipelineConfig
from inbol_ray.plan.memory import GIB, Footprint, gpus_per_engine
from inbol_ray.plan.shapes import shape_of
from inbol_ray.plan.simulation import ENOUGH_BLOCKS, Scenario, best_rows_per_block, simulate
from inbol_ray.plan.workload import driver_bytes
from inbol_ray.runtime.work import Work
from inbol_ray.store.artifacts import Store

ASSUMED = "assumed"
NODE_EFFICIENCY = 0.97
"""Training speed that is left after each doubling of the nodes, for the all-gathers between them. Assumed."""


@dataclass(frozen=True)
class Rate:
    """Seconds that one process (engine or training worker) needs for a unit, and the rest of a stage's time.

    `row_seconds` are those of single blocks; `judging_s` are CPU seconds of all units together.
    """

    unit_s: float
    start_s: float
    tail_s: float
    source: str
    row_seconds: tuple[float, ...] = ()
    judging_s: float = 0.0


@dataclass(frozen=True)
class StagePlan:
    """What a stage takes on `num_processes` engines or workers (0: driver and tasks only)."""

    work: Work
    rate: Rate
    num_processes: int
    wall_s: float
    gpu_hours: float


def measured_manifests(store: Store, config: PipelineConfig) -> dict[str, dict]:
    """The latest finished manifest of each stage name whose base model is this configuration's."""
    base = config.base_model.model_dump(mode="json")
    latest: dict[str, dict] = {}
    for name in store.names():
        manifest = store.read_manifest(name)
        if manifest is None or (manifest["settings"].get("base_model") or base) != base:
            continue
        if manifest["finished"] >= latest.get(manifest["stage"], {}).get("finished", ""):
            latest[manifest["stage"]] = manifest
    return latest


def find_rate(work: Work, config: PipelineConfig, manifest: dict | None) -> Rate:
    """The measured rate of a stage, else the assumed one."""
    measured = _measured_rate(work, manifest) if manifest else None
    return measured or _assumed_rate(work, config)


def _measured_rate(work: Work, manifest: dict) -> Rate | None:
    timing = manifest.get("timing", {})
    judging = timing.get(JUDGING)
    units = [one for name, one in timing.items() if one["blocks"] and name != JUDGING]
    if not units:
        return None
    main = max(units, key=lambda one: one["done"])
    unit_s, num_blocks = _seconds_a_row(main), len(main["blocks"])
    # The first report comes at the end of a block, so the start is what is left of it. A training reports at its
    # first worker only, whose seconds are all workers' seconds.
    start = max(0.0, main["first_report_s"] - unit_s * sum(rows for rows, _ in main["blocks"]) / num_blocks)
    last = judging or main
    if judging:  # from the last block until tasks judge: their processes start, however many rows there are
        spent = sum(seconds for _, seconds in judging["blocks"])
        start += max(0.0, main["tail_s"] - judging["tail_s"] - spent)
    return Rate(
        unit_s,
        start,
        work.num_units * last["tail_s"] / last["done"],
        f"measured: {manifest['artifact']}",
        tuple(seconds / rows for rows, seconds in main["blocks"]),
        work.num_units * _seconds_a_row(judging) if judging else 0.0,
    )


def _seconds_a_row(timing: dict) -> float:
    return sum(seconds for _, seconds in timing["blocks"]) / sum(rows for rows, _ in timing["blocks"])


def _assumed_rate(work: Work, config: PipelineConfig) -> Rate:
    plan = config.plan
    compute = work.flops_per_parameter * shape_of(config).parameters / (plan.gpu_flops * plan.utilisation)
    if work.needs == "engines" and work.num_units:
        seconds = (compute + work.response_tokens / plan.decode_tokens_per_s) / work.num_units
        judging = work.num_units / plan.judged_rows_per_s if work.judged else 0.0
        tail = work.num_units / plan.driver_rows_per_s
        return Rate(seconds, plan.engine_start_s, tail, ASSUMED, (seconds,), judging)
    if work.needs == "workers" and work.num_units:
        return Rate(compute / work.num_units, plan.engine_start_s, 0.0, ASSUMED)
    return Rate(0.0, 0.0, work.num_units / plan.driver_rows_per_s, ASSUMED)


def plan_stage(work: Work, rate: Rate, config: PipelineConfig, num_processes: int | None = None) -> StagePlan:
    """What a stage takes on the configured engines or workers, or on `num_processes` of them."""
    engine = config.engine
    if work.needs == "engines" and work.num_units:
        count = num_processes or engine.num_engines
        wall = simulate(scenario_of(work, rate, config), count).wall_s
        return StagePlan(work, rate, count, wall, wall * count * gpus_per_engine(config) / 3600)
    if work.needs == "workers" and work.num_units:
        method = config.training[work.stage]
        count = min(num_processes or method.num_workers, method.global_batch_size)
        doublings = math.log2(max(1.0, count / config.plan.gpus_per_node))
        # The assumption is one worker's seconds; a measured step took its seconds on all configured workers.
        spent = rate.unit_s * work.num_units * (1 if rate.source == ASSUMED else method.num_workers)
        wall = rate.start_s + spent / count / NODE_EFFICIENCY**doublings + rate.tail_s
        return StagePlan(work, rate, count, wall, wall * count * method.num_gpus_per_worker / 3600)
    return StagePlan(work, rate, 0, rate.tail_s, 0.0)


def scenario_of(work: Work, rate: Rate, config: PipelineConfig, rows_per_block: int | None = None) -> Scenario:
    """An engine stage for the simulation."""
    return Scenario(
        work.num_units,
        rows_per_block or config.engine.block_size,
        rate.row_seconds,
        rate.start_s,
        rate.judging_s,
        -(-work.num_units // ROWS_PER_TASK),
        rate.tail_s,
        config.plan.dispatches_per_s,
    )


def warn(plans: Sequence[StagePlan], config: PipelineConfig, memory: Sequence[Footprint] = ()) -> list[str]:
    """One sentence for each stage that cannot run or scale as configured, with the numbers and the mend."""
    warnings = []
    plan = config.plan
    for one in plans:
        work = one.work
        held = driver_bytes(work, config)
        if held > 0.8 * plan.driver_memory_bytes:
            warnings.append(
                f"{work.stage}: the driver holds about {held / 1e9:,.0f} GB of rows, it has "
                f"{plan.driver_memory_bytes / 1e9:,.0f} GB; lower the corpora's `sample` or give the head more memory"
            )
        if work.needs == "engines" and one.num_processes:
            warnings += _warn_engines(one, config)
    alike: dict[str, list[str]] = {}
    for one in memory:
        if not one.fits(plan.gpu_memory_gb * GIB):
            alike.setdefault(_describe_excess(one, plan.gpu_memory_gb), []).append(one.stage)
    return warnings + [f"{', '.join(stages)}: {text}" for text, stages in alike.items()]


def _describe_excess(one: Footprint, gpu_memory_gb: float) -> str:
    parts = ", ".join(f"{amount / GIB:,.1f} {part}" for part, amount in one.parts.items())
    mend = f"set {', or '.join(one.mends)}" if one.mends else "no setting makes it fit: take a GPU with more memory"
    return f"about {one.total / GIB:,.1f} GiB of a GPU that has {gpu_memory_gb:g} ({parts}); {mend}"


def _warn_engines(one: StagePlan, config: PipelineConfig) -> list[str]:
    work, plan, engine = one.work, config.plan, config.engine
    found = []
    num_blocks = -(-work.num_units // engine.block_size)
    if num_blocks < ENOUGH_BLOCKS * one.num_processes:
        better = best_rows_per_block(work.num_units, one.num_processes, engine.block_size)
        found.append(
            f"{work.stage}: {num_blocks:,} blocks for {one.num_processes} engines leave engines idle at the end; "
            f"lower engine.batch_size from {engine.batch_size} to {better * engine.blocks_per_batch}"
        )
    reads = one.num_processes / one.rate.unit_s
    if reads > plan.store_reads_per_s:
        found.append(
            f"{work.stage}: {one.num_processes} engines read about {reads:,.0f} images a second, one prefix of S3 "
            f"serves {plan.store_reads_per_s:,}; spread the images over {-(-reads // plan.store_reads_per_s):,.0f} "
            "prefixes"
        )
    in_flight, store = rendered_bytes_in_flight(config), object_store_bytes(config)
    if in_flight > 0.5 * store:
        found.append(
            f"{work.stage}: blocks in flight take about {in_flight / 1e9:,.1f} GB of a node's object store of "
            f"{store / 1e9:,.1f} GB, which should have room for twice as much; lower engine.batch_size, or raise "
            + ("ray.object_store_memory_bytes" if starts_ray(config) else "the nodes' /dev/shm")
        )
    if one.rate.tail_s > 0.25 * one.wall_s:
        found.append(
            f"{work.stage}: the driver alone works for {one.rate.tail_s:,.0f} s of {one.wall_s:,.0f} s after the last "
            "block; more engines do not help that part"
        )
    return found


def rendered_bytes_in_flight(config: PipelineConfig) -> float:
    """Rendered blocks on a node at once: Ray Data hands an engine twice the blocks that it works on."""
    plan, engine = config.plan, config.engine
    per_engine = gpus_per_engine(config) or 1
    engines = min(engine.num_engines, max(1, int(plan.gpus_per_node / per_engine)))
    return engines * 2 * engine.batch_size * shape_of(config).rendered_image_bytes


def starts_ray(config: PipelineConfig) -> bool:
    """Whether the store's size is the configuration's own: of a Ray that the run starts."""
    return config.ray.address is None and config.ray.object_store_memory_bytes is not None


def object_store_bytes(config: PipelineConfig) -> int:
    """Of a node: as configured for a Ray that the run starts, else as the plan assumes for the cluster."""
    return config.ray.object_store_memory_bytes if starts_ray(config) else config.plan.object_store_bytes_per_node


def what_if(
    works: Mapping[str, Work], rates: Mapping[str, Rate], config: PipelineConfig
) -> list[tuple[int, float, float]]:
    """(nodes, wall seconds, GPU-hours) of all stages, one after the other, on each of `plan.nodes`."""
    table = []
    for nodes in config.plan.nodes:
        count = nodes * config.plan.gpus_per_node
        plans = [plan_stage(work, rates[name], config, count) for name, work in works.items()]
        table.append((nodes, sum(one.wall_s for one in plans), sum(one.gpu_hours for one in plans)))
    return table
