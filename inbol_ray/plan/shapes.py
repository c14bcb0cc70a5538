"""The shape of the model that a run uses: no weights, no torch."""

from pathlib import Path

from inbol_ray.config.model import ToyBaseModel
from inbol_ray.config.schema import PipelineConfig
from inbol_ray.errors import CheckpointError
from inbol_ray.models import DEFAULT_FAMILY
from inbol_ray.models.registry import CONFIG, FAMILIES, family_of_config, read_config
from inbol_ray.models.shape import ModelShape

SHAPES = {name: shape for family in FAMILIES for name, shape in family.shapes.items()}
"""By the value of `plan.model`."""


def shape_of(config: PipelineConfig) -> ModelShape:
    """The shape of the run's base model: the toy world's, that of a local folder's config.json, else `plan.model`.

    A hub name tells its shape where it holds a known model's; otherwise the default family's first is taken. Raises
    CheckpointError for a config.json of no supported family.
    """
    base = config.base_model
    if base.kind == "toyworld":
        return _toy_shape(base)
    if config.plan.model is not None:
        return SHAPES[config.plan.model]
    file = Path(base.path) / CONFIG
    if file.is_file():
        return read_shape(file)
    usual = next(iter(DEFAULT_FAMILY.shapes.values()))
    return next((shape for name, shape in SHAPES.items() if name in base.path.lower()), usual)


def read_shape(file: Path) -> ModelShape:
    """The shape that a checkpoint's config.json describes. Raises CheckpointError."""
    config = read_config(file)
    family = family_of_config(config, file)
    try:
        return family.read_shape(config)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{file}: the model's sizes cannot be read ({type(error).__name__}: {error}); expected a configuration laid "
            f"out as {family.example}, with the sections text_config and vision_config"
        ) from None


def _toy_shape(base: ToyBaseModel) -> ModelShape:
    """What `toyworld.base_model.build_model` builds; its tokenizer is learnt, so the vocabulary is an upper bound."""
    from inbol_ray.toyworld.scenes import CELL_PX, IMAGE_PX

    heads = base.hidden_size // 32
    return ModelShape(
        hidden=base.hidden_size,
        layers=base.num_layers,
        intermediate=2 * base.hidden_size,
        heads=heads,
        kv_heads=heads,
        head_dim=32,
        vocabulary=4096,
        vision_hidden=base.vision_hidden_size,
        vision_layers=base.vision_num_layers,
        vision_intermediate=2 * base.vision_hidden_size,
        image_size=IMAGE_PX,
        patch_size=CELL_PX,
    )
