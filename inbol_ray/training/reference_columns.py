"""Reference log-probabilities computed once, before training, as columns of the data.

PREFERENCE_SET -> PREFERENCE_SET + `reference_logp_*`
"""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray.data
import torch

from inbol_ray.config.training import CaDpoConfig
from inbol_ray.models import family_of
from inbol_ray.models.loading import load_model, load_processor
from inbol_ray.store.local_copies import job_storage, local_copy, written_to
from inbol_ray.store.row_writer import write_rows
from inbol_ray.store.storage import open_filesystem
from inbol_ray.training.objectives import REFERENCE_COLUMNS, build_objective, move_to, response_logps

SCORES = pa.schema([("id", pa.string()), *((column, pa.float32()) for column in REFERENCE_COLUMNS)])
_ROWS_PER_FORWARD = 16
_CACHE = "reference_logps.parquet"


def add_reference_logps(
    rows: pa.Table, config: CaDpoConfig, init_checkpoint: str, run_dir: str, system: str | None = None
) -> pa.Table:
    """`rows` with one `reference_logp_*` column a response, float32; 0 for a response that no pair of its row uses.

    A Ray Data stage: as many models as training has workers. The columns are kept in `run_dir` (a path or `s3://`
    URI), from which a restarted training reads them instead.
    """
    filesystem, path = open_filesystem(f"{run_dir}/{_CACHE}", job_storage())
    if not filesystem.get_file_info(path).is_file:
        dataset = ray.data.from_arrow(rows).repartition(target_num_rows_per_block=_ROWS_PER_FORWARD)
        scored = dataset.map_batches(
            ReferenceScorer,
            fn_constructor_args=(init_checkpoint, config, system),
            batch_size=_ROWS_PER_FORWARD,
            num_cpus=1,
            num_gpus=config.num_gpus_per_worker or None,
            compute=ray.data.ActorPoolStrategy(size=config.num_workers),
        )
        with written_to(run_dir) as folder:
            write_rows(folder / _CACHE, scored.take_all(), SCORES)
    scores = pq.read_table(path, filesystem=filesystem)
    order = {row_id: index for index, row_id in enumerate(scores["id"].to_pylist())}
    scores = scores.take(pa.array([order[row_id] for row_id in rows["id"].to_pylist()]))
    for column in REFERENCE_COLUMNS:
        rows = rows.append_column(column, scores[column])
    return rows


class ReferenceScorer:
    """Rows -> their ids and reference log-probabilities, by the reference model in one actor."""

    def __init__(self, checkpoint: str, config: CaDpoConfig, system: str | None = None) -> None:
        self.device = config.compute_device
        folder = local_copy(checkpoint)
        self.objective = build_objective(config, load_processor(folder), family_of(folder), system)
        self.model = load_model(folder).eval().to(self.device, getattr(torch, config.dtype))

    def __call__(self, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        batch = move_to(self.objective.collate(rows), self.device)
        batch["pixel_values"] = batch["pixel_values"].to(self.model.dtype)
        with torch.no_grad():
            logps = response_logps(self.model, batch).cpu().numpy()
        return {"id": columns["id"], **{name: logps[:, index] for index, name in enumerate(REFERENCE_COLUMNS)}}
