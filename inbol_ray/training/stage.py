"""Stage: train one method; leaves `model/` (merged), `adapter/` (LoRA only), `logs/`, and a model card in each model."""

import pyarrow as pa
import pyarrow.dataset as pads

from inbol_ray.config.model import BaseModelConfig
from inbol_ray.config.schema import PipelineConfig
from inbol_ray.config.section import RunOnly, Section
from inbol_ray.config.training import CaDpoConfig, MethodConfig, TrackingConfig
from inbol_ray.images import IMAGES_VERSION
from inbol_ray.method.preference_pairs import add_pair_weights
from inbol_ray.method.prompts import PROMPTS_VERSION
from inbol_ray.rows import Rejected
from inbol_ray.runtime.stage import Stage, StageContext, present
from inbol_ray.runtime.work import Sizes, Work
from inbol_ray.subsets import draw
from inbol_ray.training.batches import NUM_TOKENS
from inbol_ray.training.disk_use import training_bytes


class TrainSettings(Section):
    method: str
    """Its name in the configuration."""
    training: MethodConfig
    base_model: BaseModelConfig
    images_version: int = IMAGES_VERSION
    prompts_version: int = PROMPTS_VERSION
    """Of the chat layout."""
    system: str | None
    """The text before the first turn of every row."""
    seed: int
    dropout_layout: tuple[int, int | None, str] | None
    """Workers, token budget and device of a training with dropout: its masks are drawn by the place of a micro-batch, so
    another layout is another draw, and not rounding alone. null without dropout."""
    tracking: RunOnly[TrackingConfig]
    max_response_tokens: RunOnly[int]
    """`sampling.max_tokens`, for the plan: the longest response that data holds."""
    datasets: RunOnly[list[str]]
    """Names of the training corpora, for the model card."""


def train_stage(config: PipelineConfig, name: str, title: str, init: Stage | None, data: Stage) -> Stage[TrainSettings]:
    """The training of an entry of `training`; without `init` it starts from the configured base model."""
    method = config.training[name]
    drops = method.lora is not None and method.lora.dropout > 0
    return Stage(
        name,
        title,
        train,
        version=1,
        settings=TrainSettings(
            method=name,
            training=method,
            base_model=config.base_model,
            system=config.prompts.system,
            seed=config.seed,
            dropout_layout=(method.num_workers, method.micro_batch_tokens, method.compute_device) if drops else None,
            tracking=config.tracking,
            max_response_tokens=config.sampling.max_tokens,
            datasets=sorted({corpus.dataset for corpus in config.corpora}),
        ),
        inputs=present(init=init, data=data),
        needs="workers",
        work=_work,
    )


def _work(settings: TrainSettings, sizes: Sizes) -> Work:
    method = settings.training
    rows = sizes.finished.get(settings.method, {}).get("rows") or _num_rows(method, sizes)
    rows -= rows % method.global_batch_size
    response = min(sizes.response_tokens, settings.max_response_tokens)
    tokens = sizes.prompt_tokens + response * (3 if isinstance(method, CaDpoConfig) else 1)
    return Work(
        "steps",
        rows // method.global_batch_size * method.num_epochs,
        training_tokens=rows * tokens * method.num_epochs,
        passes=_passes(method),
        bytes_written=training_bytes(method, sizes.parameters)[0],
    )


def _num_rows(method: MethodConfig, sizes: Sizes) -> int:
    """Training rows of a method that has not been trained yet."""
    corpora = {"captions": sizes.captions, "conversations": sizes.conversations}
    rows = corpora.get(getattr(method, "data", ""), sizes.data)
    return min(rows, method.sample or rows)


def _passes(method: MethodConfig) -> float:
    """Forward passes that a step costs: forward; backward through the activations, and in full fine-tuning as much again
    for the weights' gradients; the reference's forward in preference learning; and the forward that checkpointing
    repeats."""
    backward = 1.0 if method.lora is not None else 2.0
    return 1.0 + backward + isinstance(method, CaDpoConfig) + method.gradient_checkpointing


def train(context: StageContext[TrainSettings]) -> dict[str, int]:
    """Reads `data` and `init` (absent for a checkpoint from outside)."""
    from inbol_ray.training.card import write_model_cards
    from inbol_ray.training.run import run_training

    settings, config = context.settings, context.settings.training
    init = context.checkpoint("init", settings.base_model)
    rows = _drop_long(context, _read_rows(context), init)
    metrics = run_training(
        rows,
        config,
        name=settings.method,
        init_checkpoint=init,
        out_dir=context.uri,
        run_dir=context.resume,
        seed=settings.seed,
        tracking=settings.tracking,
        progress=context.progress,
        system=settings.system,
    )
    write_model_cards(context, init, metrics)
    return {"rows": rows.num_rows, "steps": metrics["num_steps"]}


def _read_rows(context: StageContext[TrainSettings]) -> pa.Table:
    """The method's rows, ordered by id; of `sample`, those that are drawn."""
    config = context.settings.training
    table = _read_all_rows(context, config)
    if config.sample is None:
        return table
    ids, knowledge = table["id"].to_pylist(), table["knowledge"].to_pylist()
    strata = [(id.partition(":")[0], known) for id, known in zip(ids, knowledge, strict=True)]
    return table.take(pa.array(draw(ids, strata, config.sample, context.settings.seed), pa.int64()))


def _read_all_rows(context: StageContext[TrainSettings], config: MethodConfig) -> pa.Table:
    folder = context.inputs["data"]
    if isinstance(config, CaDpoConfig):
        table = pads.dataset(folder / "preferences.parquet").to_table().sort_by("id")
        return add_pair_weights(table, config.mixed_pairs)
    shards = sorted(map(str, folder.glob(f"{config.data}-*.parquet"))) or [str(folder / f"{config.data}.parquet")]
    return pads.dataset(shards).to_table().sort_by("id")


def _drop_long(context: StageContext[TrainSettings], table: pa.Table, init: str) -> pa.Table:
    """Rows within `max_length`; longer ones are rejected, since cutting could remove image tokens or the answer."""
    from inbol_ray.training.lengths import count_tokens, load_objective

    config, system = context.settings.training, context.settings.system
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
