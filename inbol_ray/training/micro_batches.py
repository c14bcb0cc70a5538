"""One share's rows of a step -> its micro-batches, decoded and encoded ahead of the step.

A share is a Ray Data dataset of its own, read in order (`preserve_order`): `streaming_split` decides at run time which
worker gets a block, which no plan survives. Images are decoded and texts encoded ahead of the step, in the threads of
the worker's iterator: 3 ms of one core a sample (a 640 x 480 JPEG to 336 x 336), 0.5 of them with Python's lock held,
where LLaVA-1.5-7B has 25 to 35 TFLOP to compute. Ray Data tasks would send 1.35 MB of pixels a sample instead of
0.1 MB of JPEG, and import torch and transformers in processes of their own. On two busy cores a worker waited 0.5 ms for
a step of 110 ms in the demo, and 2.5 ms for one of 3.6 s with such JPEGs at 576 image tokens; `data_wait_s` in the logs
shows it for any run.
"""

import numpy as np
from ray.data.collate_fn import NumpyBatchCollateFn

from inbol_ray.training.batches import MICRO_BATCH, STEP
from inbol_ray.training.objectives import Batch, Objective


class MicroBatches(NumpyBatchCollateFn):
    """One step's rows of one share -> its micro-batches, images decoded. Runs in the iterator's threads.

    `dropout_seed` of a micro-batch depends on its place alone, so that whoever runs it draws what any other would
    have drawn. Steps before `first_step` (training resumes there) yield an empty list and decode nothing. The objective
    is built outside: transformers' lazy imports race in those threads.
    """

    def __init__(self, objective: Objective, *, first_step: int, seed: int, share: int) -> None:
        self.objective, self.first_step = objective, first_step
        self.seed, self.share = seed, share

    def __call__(self, columns: dict[str, np.ndarray]) -> list[Batch]:
        if columns[STEP][0] < self.first_step:
            return []
        groups: dict[int, list[dict]] = {}
        for values in zip(*columns.values(), strict=True):
            row = dict(zip(columns, values, strict=True))
            groups.setdefault(int(row[MICRO_BATCH]), []).append(row)
        step = int(columns[STEP][0])
        return [
            self.objective.collate(rows) | {"dropout_seed": hash((self.seed, step, self.share, micro_batch))}
            for micro_batch, rows in groups.items()
        ]
