"""A plan as text for a terminal."""

from collections.abc import Mapping, Sequence

from inbol_ray.plan.estimate import ASSUMED, StagePlan
from inbol_ray.plan.memory import GIB, Footprint
from inbol_ray.plan.simulation import Outcome

_PARTS = ("weights", "optimizer", "reference", "gathered", "cache", "activations", "logits", "overhead")


def render_stages(plans: Sequence[StagePlan]) -> str:
    """A line a stage: units, samples, tokens, time, GPU-hours, bytes, and where its rate comes from."""
    head = f"{'stage':<16}{'units':>22}{'samples':>13}{'tokens':>9}{'on':>5}{'time':>9}{'GPU-h':>8}{'writes':>9}  rate"
    lines = [head]
    for plan in plans:
        work = plan.work
        tokens = work.prompt_tokens + work.response_tokens + work.training_tokens
        units = f"{work.num_units:,} {work.unit}" if work.unit else "-"
        rate = plan.rate.source if work.num_units else ""
        samples = f"{work.samples:,}" if work.samples else "-"
        lines.append(
            f"{work.stage:<16}{units:>22}{samples:>13}{short(tokens):>9}{plan.num_processes or '-':>5}"
            f"{duration(plan.wall_s):>9}{plan.gpu_hours:>8,.1f}{short(work.bytes_written) + 'B':>9}  {rate}"
        )
    total = sum(plan.wall_s for plan in plans)
    lines.append(f"{'all':<16}{duration(total):>{22 + 13 + 9 + 5 + 9}}{sum(plan.gpu_hours for plan in plans):>8,.1f}")
    lines.append(f"Corpus sizes: {plans[0].work.source}. Assumptions are the section `plan` of the configuration.")
    if any(plan.rate.source == ASSUMED and plan.num_processes for plan in plans):
        lines.append("Assumed rates are a first guess: run a stage on a sample of the data and plan again.")
    return "\n".join(lines)


def render_what_if(table: Sequence[tuple[int, float, float]], gpus_per_node: int, batches: Mapping[str, int]) -> str:
    """A line a number of nodes: wall time, speed-up over the first line, GPU-hours; and how far trainings scale, by
    their global batches."""
    lines = [f"{'nodes':>6}{'GPUs':>7}{'time':>10}{'speed-up':>10}{'GPU-h':>10}"]
    first = table[0][1]
    for nodes, wall, hours in table:
        lines.append(f"{nodes:>6,}{nodes * gpus_per_node:>7,}{duration(wall):>10}{first / wall:>10.1f}{hours:>10,.0f}")
    if batches:
        most = ", ".join(f"{name} {batch}" for name, batch in batches.items())
        lines.append(f"A training keeps at most a worker a sample of its global batch busy: {most}.")
    return "\n".join(lines)


def render_memory(memory: Sequence[Footprint], gpu_memory_gb: float) -> str:
    """A line a stage: GiB of each part on one GPU, their sum, and whether it fits."""
    lines = [f"{'stage':<16}" + "".join(f"{part:>13}" for part in _PARTS) + f"{'all':>8}  fits {gpu_memory_gb:g} GB"]
    for one in memory:
        parts = "".join(f"{one.parts[part] / GIB:>13,.1f}" if part in one.parts else f"{'-':>13}" for part in _PARTS)
        fits = "yes" if one.fits(gpu_memory_gb * GIB) else "no"
        lines.append(f"{one.stage:<16}{parts}{one.total / GIB:>8,.1f}  {fits}")
    return "\n".join(lines)


def render_simulation(stage: str, outcomes: Sequence[Outcome], useful: int) -> str:
    lines = [
        f"{stage}, simulated from the seconds of single blocks:",
        f"{'engines':>8}{'time':>10}{'speed-up':>10}{'busy':>7}  bound by",
    ]
    for one in outcomes:
        speed_up = outcomes[0].wall_s / one.wall_s
        lines.append(
            f"{one.num_engines:>8,}{duration(one.wall_s):>10}{speed_up:>10.1f}{one.busy_rate:>7.0%}  {one.bound}"
        )
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
