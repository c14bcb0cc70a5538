"""How many tokens each training row has, counted all over the cluster: a tokeniser takes about 1 ms a row.

table -> slices in order -> Ray tasks, a processor for each process -> counts in the rows' order
"""

from collections import deque
from functools import lru_cache

import pyarrow as pa
import ray

from inbol_ray.config.training import MethodConfig
from inbol_ray.models import family_of
from inbol_ray.models.loading import load_processor
from inbol_ray.store.local_copies import local_copy
from inbol_ray.training.batches import NUM_TOKENS, add_token_counts
from inbol_ray.training.objectives import Objective, build_objective

ROWS_PER_TASK = 4096
"""Seconds of work: a new process takes as long as that to import transformers, so one slice is counted right here."""


def count_tokens(rows: pa.Table, config: MethodConfig, checkpoint: str, system: str | None = None) -> list[int]:
    """Tokens of each row, image tokens and `system` (`prompts.system`) included, by the processor of `checkpoint`.

    Slices go to as many tasks as the cluster has CPUs, so that few are in flight however many rows there are; how they
    are spread changes nothing. Ray must be up for more than one slice. Raises DataError as the encoder does.
    """
    if rows.num_rows <= ROWS_PER_TASK:
        return _count_slice(rows, config, checkpoint, system)
    width = max(1, int(ray.cluster_resources().get("CPU", 1)))
    lengths: list[int] = []
    running: deque[ray.ObjectRef] = deque()
    try:
        for start in range(0, rows.num_rows, ROWS_PER_TASK):
            if len(running) == width:
                lengths += ray.get(running.popleft())
            running.append(_count_remotely.remote(rows.slice(start, ROWS_PER_TASK), config, checkpoint, system))
        while running:
            lengths += ray.get(running.popleft())
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    return lengths


def load_objective(config: MethodConfig, checkpoint: str, system: str | None = None) -> Objective:
    """The objective with the processor of `checkpoint`, loaded once for all that a process asks in a row."""
    return _load_objective(config.model_dump_json(), type(config), checkpoint, system)


def _count_slice(rows: pa.Table, config: MethodConfig, checkpoint: str, system: str | None) -> list[int]:
    return add_token_counts(rows, load_objective(config, checkpoint, system))[NUM_TOKENS].to_pylist()


_count_remotely = ray.remote(num_cpus=1)(_count_slice)


@lru_cache(maxsize=1)
def _load_objective(config: str, kind: type[MethodConfig], checkpoint: str, system: str | None) -> Objective:
    """By JSON, since configurations hold lists and cannot be hashed."""
    folder = local_copy(checkpoint)
    return build_objective(kind.model_validate_json(config), load_processor(folder), family_of(folder), system)
