"""A plan as text for a terminal."""

from collections.abc import Mapping, Sequence

from inbol_ray.plan.estimate import ASSUMED, StagePlan
from inbol_ray.plan.memory import GIB, Footprint
from inbol_ray.plan.simulation import Outcome
from inbol_ray.text_table import text_table

_PARTS = ("weights", "optimizer", "reference", "gathered", "cache", "activations", "logits", "overhead")


def render_stages(plans: Sequence[StagePlan]) -> str:
    """One row per stage: units, samples, tokens, time, GPU-hours, bytes, and where its rate comes from."""
    grid = [["stage", "units", "samples", "tokens", "on", "time", "GPU-h", "writes", "rate"]]
    for plan in plans:
        work = plan.work
        tokens = work.prompt_tokens + work.response_tokens + work.training_tokens
        grid.append(
            [
                work.stage,
                f"{work.num_units:,} {work.unit}" if work.unit else "-",
                f"{work.samples:,}" if work.samples else "-",
                short(tokens),
                str(plan.num_processes or "-"),
                duration(plan.wall_s),
                f"{plan.gpu_hours:,.1f}",
                short(work.bytes_written) + "B",
                plan.rate.source if work.num_units else "",
            ]
        )
    total, gpu_hours = sum(plan.wall_s for plan in plans), sum(plan.gpu_hours for plan in plans)
    grid.append(["all", "", "", "", "", duration(total), f"{gpu_hours:,.1f}", "", ""])
    lines = [text_table(grid, left=(0, 8))]
    lines.append(f"Corpus sizes: {plans[0].work.source}. Assumptions are the section `plan` of the configuration.")
    if any(plan.rate.source == ASSUMED and plan.num_processes for plan in plans):
        lines.append("Assumed rates are a first guess: run a stage on a sample of the data and plan again.")
    return "\n".join(lines)


def render_what_if(table: Sequence[tuple[int, float, float]], gpus_per_node: int, batches: Mapping[str, int]) -> str:
    """One row per number of nodes: wall time, speed-up over the first row, GPU-hours; and how far trainings scale, by
    their global batches."""
    grid = [["nodes", "GPUs", "time", "speed-up", "GPU-h"]]
    first = table[0][1]
    for nodes, wall, hours in table:
        speed_up = f"{first / wall:.1f}"
        grid.append([f"{nodes:,}", f"{nodes * gpus_per_node:,}", duration(wall), speed_up, f"{hours:,.0f}"])
    lines = [text_table(grid, left=())]
    if batches:
        most = ", ".join(f"{name} {batch}" for name, batch in batches.items())
        lines.append(f"A training keeps at most one worker per sample of its global batch busy: {most}.")
    return "\n".join(lines)


def render_memory(memory: Sequence[Footprint], gpu_memory_gb: float) -> str:
    """One row per stage: GiB of each part on one GPU, their sum, and whether it fits."""
    grid = [["stage", *_PARTS, "all", f"fits {gpu_memory_gb:g} GB"]]
    for one in memory:
        parts = (f"{one.parts[part] / GIB:,.1f}" if part in one.parts else "-" for part in _PARTS)
        fits = "yes" if one.fits(gpu_memory_gb * GIB) else "no"
        grid.append([one.stage, *parts, f"{one.total / GIB:,.1f}", fits])
    return text_table(grid, left=(0, len(grid[0]) - 1))


def render_simulation(stage: str, outcomes: Sequence[Outcome], useful: int) -> str:
    """One row per number of engines: time, speed-up over the first row, how busy they are, and what holds them back."""
    grid = [["engines", "time", "speed-up", "busy", "bound by"]]
    for one in outcomes:
        speed_up = f"{outcomes[0].wall_s / one.wall_s:.1f}"
        grid.append([f"{one.num_engines:,}", duration(one.wall_s), speed_up, f"{one.busy_rate:.0%}", str(one.bound)])
    lines = [f"{stage}, simulated from the seconds of single blocks:", text_table(grid, left=(4,))]
    lines.append(f"More than {useful:,} engines save less than a tenth of the time each step.")
    return "\n".join(lines)


def duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:,.0f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


def short(number: float) -> str:
    for unit in ("", "k", "M", "G"):
        if number < 1000:
            return f"{number:,.0f} {unit}" if not unit else f"{number:,.1f} {unit}"
        number /= 1000
    return f"{number:,.1f} T"
