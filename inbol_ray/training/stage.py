"""Stage: train one method and export its merged checkpoint to `model/`."""

import pyarrow as pa
import pyarrow.dataset as pads

from inbol_ray.artifacts import StageContext
from inbol_ray.config.schema import CaDpoConfig, MethodConfig
from inbol_ray.datagen.preference_pairs import pair_weights
from inbol_ray.local_copies import local_copy
from inbol_ray.rows import Rejected
from inbol_ray.training.fsdp import load_processor
from inbol_ray.training.loop import run_training
from inbol_ray.training.objectives import build_objective


def train(context: StageContext) -> dict[str, int]:
    """Reads `data` and `init` (absent for a checkpoint from outside); the method is `settings["method"]`."""
    name = context.settings["method"]
    config = context.config.training[name]
    init = context.checkpoint("init")
    rows = _drop_long(context, _read_rows(context, config), config, init)
    metrics = run_training(
        rows,
        config,
        name=name,
        init_checkpoint=init,
        out_dir=f"{context.uri}/model",
        run_dir=context.resume,
        seed=context.config.seed,
        progress=context.progress,
    )
    return {"rows": rows.num_rows, "steps": metrics["num_steps"]}


def _read_rows(context: StageContext, config: MethodConfig) -> pa.Table:
    """The method's rows, ordered by id."""
    folder = context.inputs["data"]
    if isinstance(config, CaDpoConfig):
        table = pads.dataset(folder / "preferences.parquet").to_table().sort_by("id")
        weights = [
            pair_weights(knowledge, confidence, config.mixed_pairs)
            for knowledge, confidence in zip(
                table["knowledge"].to_pylist(), table["confidence"].to_pylist(), strict=True
            )
        ]
        for column in weights[0] if weights else ():
            values = pa.array([row[column] for row in weights], pa.float32())
            table = table.set_column(table.column_names.index(column), column, values)
        return table
    shards = sorted(map(str, folder.glob(f"{config.data}-*.parquet"))) or [str(folder / f"{config.data}.parquet")]
    return pads.dataset(shards).to_table().sort_by("id").slice(0, config.max_rows)


def _drop_long(context: StageContext, table: pa.Table, config: MethodConfig, init: str) -> pa.Table:
    """Rows within `max_length`; longer ones are rejected, since cutting could remove image tokens or the answer."""
    objective = build_objective(config, load_processor(local_copy(init)))
    keep = []
    for row in table.to_pylist():
        # No text has more tokens than bytes, so most rows need no tokeniser.
        fits = objective.max_row_length(row) <= config.max_length
        length = 0 if fits else objective.row_length(row)
        keep.append(fits or length <= config.max_length)
        if not keep[-1]:
            detail = f"{length} tokens exceed max_length {config.max_length}; raise training max_length or drop the row"
            context.reject([Rejected(row["id"], "training", "too_long", detail)])
    return table.filter(pa.array(keep, pa.bool_()))
