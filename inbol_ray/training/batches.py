"""Which row is trained on when, by whom, and what it is forwarded together with: decided before training starts.

rows -> epochs, each shuffled anew -> global batches of a fixed number of samples -> micro-batches -> one table a share

What makes up step k depends on the seed alone: not on the number of workers, and not on the token budget, which only
decides what is padded together. So a killed run finds its place again, and more workers give the same curve (with dropout, a curve of other masks). A batch
has a share for each configured worker; where fewer are left, some train on several shares.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from inbol_ray.config.training import TrainingConfig
from inbol_ray.errors import DataError

if TYPE_CHECKING:
    from inbol_ray.training.objectives import Objective

NUM_TOKENS = "num_tokens"
"""Column that a token budget counts, int32."""
STEP, MICRO_BATCH = "step", "micro_batch"
"""Columns that `plan_batches` adds, int32: the optimiser step of a row, and the micro-batch within that step."""


def add_token_counts(rows: pa.Table, objective: Objective) -> pa.Table:
    """`rows` with NUM_TOKENS: each row's length, image tokens included."""
    return rows.append_column(NUM_TOKENS, pa.array(map(objective.row_length, rows.to_pylist()), pa.int32()))


def plan_batches(rows: pa.Table, config: TrainingConfig, seed: int) -> tuple[list[pa.Table], int]:
    """One table for each share, the rows of all epochs in the order of training on them; and the steps' number.

    An epoch's incomplete last batch is left out. Every share has as many rows and micro-batches in a step as any
    other, since FSDP's workers must run the same number of forward passes. A token budget needs NUM_TOKENS.

    Raises DataError when there are fewer rows than one batch.
    """
    size = config.global_batch_size
    num_batches = rows.num_rows // size
    if not num_batches:
        raise DataError(
            f"{rows.num_rows} training rows are fewer than one global batch of {size}; "
            "lower global_batch_size or add data"
        )
    orders = (np.random.default_rng([seed, epoch]).permutation(rows.num_rows) for epoch in range(config.num_epochs))
    steps = np.concatenate([order[: num_batches * size].reshape(-1, size) for order in orders])
    micro_batches = np.zeros_like(steps, dtype=np.int32)
    if config.micro_batch_tokens is not None:
        lengths = rows[NUM_TOKENS].to_numpy()
        for step, batch in enumerate(steps):
            batch[:] = batch[np.argsort(-lengths[batch], kind="stable")]
            micro_batches[step] = _cut(lengths[batch], config.num_workers, config.micro_batch_tokens)
    step_numbers = np.repeat(np.arange(len(steps), dtype=np.int32), size // config.num_workers)
    shards = [
        rows.take(pa.array(steps[:, worker :: config.num_workers].ravel()))
        .append_column(STEP, pa.array(step_numbers))
        .append_column(MICRO_BATCH, pa.array(micro_batches[:, worker :: config.num_workers].ravel()))
        for worker in range(config.num_workers)
    ]
    return shards, len(steps)


def _cut(lengths: np.ndarray, num_workers: int, max_tokens: int) -> np.ndarray:
    """Micro-batch of each row of one global batch, whose rows come longest first.

    A micro-batch takes the next rows as long as each worker's part, padded to its longest row, fits `max_tokens`; a
    row that does not fit by itself gets a micro-batch of its own.
    """
    numbers = np.empty(len(lengths), dtype=np.int32)
    start = number = 0
    while start < len(lengths):
        stop = start + num_workers * max(1, max_tokens // int(lengths[start]))
        numbers[start:stop] = number
        start, number = stop, number + 1
    return numbers


def shares_of(rank: int, num_workers: int, num_shares: int) -> range:
    """The shares of each batch that one worker of those that are there trains on."""
    return range(rank, num_shares, num_workers)


def idle_passes(rank: int, num_workers: int, num_shares: int, num_micro_batches: int) -> int:
    """Forward passes without effect with which a worker of `num_micro_batches` keeps step with the busiest one."""
    num_own = len(shares_of(rank, num_workers, num_shares))
    return (len(shares_of(0, num_workers, num_shares)) - num_own) * (num_micro_batches // num_own)
