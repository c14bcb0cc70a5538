"""Stage: train one method; leaves `model/` (merged), `adapter/` (LoRA only), `logs/`, and a model card in each model."""

import pyarrow as pa
import pyarrow.dataset as pads

from inbol_ray.config.training import CaDpoConfig, MethodConfig
from inbol_ray.method.preference_pairs import pair_weights
from inbol_ray.rows import Rejected
from inbol_ray.store.artifacts import StageContext
from inbol_ray.subsets import draw
from inbol_ray.training.batches import NUM_TOKENS
from inbol_ray.training.card import write_model_cards
from inbol_ray.training.lengths import count_tokens, load_objective
from inbol_ray.training.run import run_training


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
        out_dir=context.uri,
        run_dir=context.resume,
        seed=context.config.seed,
        tracking=context.config.tracking,
        progress=context.progress,
        system=context.config.prompts.system,
    )
    write_model_cards(context, config, init, metrics)
    return {"rows": rows.num_rows, "steps": metrics["num_steps"]}


def _read_rows(context: StageContext, config: MethodConfig) -> pa.Table:
    """The method's rows, ordered by id; of `sample`, those that are drawn."""
    table = _read_all_rows(context, config)
    if config.sample is None:
        return table
    ids, knowledge = table["id"].to_pylist(), table["knowledge"].to_pylist()
    strata = [(id.partition(":")[0], known) for id, known in zip(ids, knowledge, strict=True)]
    return table.take(pa.array(draw(ids, strata, config.sample, context.config.seed), pa.int64()))


def _read_all_rows(context: StageContext, config: MethodConfig) -> pa.Table:
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
    return pads.dataset(shards).to_table().sort_by("id")


def _drop_long(context: StageContext, table: pa.Table, config: MethodConfig, init: str) -> pa.Table:
    """Rows within `max_length`; longer ones are rejected, since cutting could remove image tokens or the answer."""
    system = context.config.prompts.system
    if config.micro_batch_tokens is not None:
        lengths = count_tokens(table, config, init, system)
        table = table.append_column(NUM_TOKENS, pa.array(lengths, pa.int32()))
    else:
        # No text has more tokens than bytes, so most rows need no tokeniser.
        objective = load_objective(config, init, system)
        lengths = [objective.max_row_length(row) for row in table.to_pylist()]
        unsure = [index for index, bound in enumerate(lengths) if bound > config.max_length]
        counted = count_tokens(table.take(pa.array(unsure, pa.int64())), config, init, system)
        for index, length in zip(unsure, counted, strict=True):
            lengths[index] = length
    for row_id, length in zip(table["id"].to_pylist(), lengths, strict=True):
        if length > config.max_length:
            detail = f"{length} tokens exceed max_length {config.max_length}; raise training max_length or drop the row"
            context.reject([Rejected(row_id, "training", "too_long", detail)])
    return table.filter(pa.array([length <= config.max_length for length in lengths], pa.bool_()))
