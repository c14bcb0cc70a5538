"""Wall time of an engine stage over engines, from the seconds that single blocks took in an earlier run.

blocks -> [one dispatcher] -> engines, each from its own start on -> [judging on the engines' CPUs] -> [driver's tail]

List scheduling, as Ray Data does it: whoever is free gets the next block.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ENOUGH_BLOCKS = 8
"""Blocks an engine below which the last ones leave many engines idle."""


@dataclass(frozen=True)
class Scenario:
    """An engine stage as the simulation sees it."""

    num_rows: int
    rows_per_block: int
    row_seconds: tuple[float, ...]
    """Seconds a row, of each recorded block: blocks are drawn from these."""
    start_s: float
    """From the beginning of the stage until an engine takes its first block."""
    judging_s: float
    """CPU seconds of judging after the last block, by `judging_tasks` tasks."""
    judging_tasks: int
    tail_s: float
    """What the driver does by itself."""
    dispatches_per_s: float


@dataclass(frozen=True)
class Outcome:
    """`busy_rate` is the share of engine-seconds, start included, that went into blocks."""

    num_engines: int
    wall_s: float
    busy_rate: float
    bound: str
    """What keeps the wall time from falling: `engines` while more of them help."""


def simulate(scenario: Scenario, num_engines: int, seed: int = 0) -> Outcome:
    """Run the stage once. The same seed draws the same blocks for every number of engines."""
    num_blocks = -(-scenario.num_rows // scenario.rows_per_block)
    drawn = np.random.default_rng(seed).choice(np.asarray(scenario.row_seconds), num_blocks)
    sizes = np.full(num_blocks, scenario.rows_per_block)
    sizes[-1] = scenario.num_rows - scenario.rows_per_block * (num_blocks - 1)
    seconds = drawn * sizes
    free = [scenario.start_s] * min(num_engines, num_blocks)
    heapq.heapify(free)
    dispatched = scenario.start_s
    for block in seconds:
        start = max(heapq.heappop(free), dispatched)
        dispatched = max(dispatched, start) + 1 / scenario.dispatches_per_s if num_engines > 1 else start
        heapq.heappush(free, start + float(block))
    end = max(free)
    judging = scenario.judging_s / min(num_engines, scenario.judging_tasks) if scenario.judging_tasks else 0.0
    wall = end + judging + scenario.tail_s
    ideal = float(seconds.sum()) / num_engines
    losses = {
        "engines": ideal,
        "start of the engines": scenario.start_s,
        "judging": judging,
        "driver's tail": scenario.tail_s,
        "uneven last blocks": end - scenario.start_s - ideal,
    }
    if num_blocks / scenario.dispatches_per_s > 0.8 * (end - scenario.start_s):
        losses["dispatch by one thread"] = losses.pop("uneven last blocks") + ideal
    return Outcome(num_engines, wall, ideal / wall, max(losses, key=losses.get))


def largest_useful(outcomes: Sequence[Outcome]) -> int:
    """The last number of engines that still cut the wall time by at least a tenth, of outcomes that grow in engines."""
    useful = outcomes[0].num_engines
    for before, after in zip(outcomes, outcomes[1:], strict=False):
        if after.wall_s <= 0.9 * before.wall_s:
            useful = after.num_engines
    return useful


def best_rows_per_block(num_rows: int, num_engines: int, rows_per_block: int) -> int:
    """Rows a block so that every engine has at least ENOUGH_BLOCKS; never more than now, never less than one."""
    return max(1, min(rows_per_block, num_rows // (num_engines * ENOUGH_BLOCKS) or 1))
