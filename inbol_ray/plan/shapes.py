"""The shape of the model that a run uses, which is all that planning needs to know of it: no weights, no torch."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

from inbol_ray.config.model import ToyBaseModel
from inbol_ray.config.schema import PipelineConfig
from inbol_ray.errors import CheckpointError

CHANNELS = 3


@dataclass(frozen=True)
class ModelShape:
    """Sizes of a LLaVA: a Llama, a CLIP tower and the two-layer projector between them. Defaults: LLaVA-1.5-7B's."""

    hidden: int = 4096
    layers: int = 32
    intermediate: int = 11_008
    heads: int = 32
    kv_heads: int = 32
    head_dim: int = 128
    vocabulary: int = 32_064
    tied: bool = False
    """Whether the output layer is the embedding."""
    vision_hidden: int = 1024
    vision_layers: int = 24
    vision_intermediate: int = 4096
    image_size: int = 336
    patch_size: int = 14

    @property
    def image_tokens(self) -> int:
        """Tokens that an image becomes for the language model."""
        return (self.image_size // self.patch_size) ** 2

    @property
    def rendered_image_bytes(self) -> int:
        """An image as engines take it: numbers in float32."""
        return 4 * CHANNELS * self.image_size**2

    @property
    def kv_width(self) -> int:
        return self.kv_heads * self.head_dim

    @property
    def linear_parameters(self) -> int:
        """Of the linear layers inside one decoder layer: what LoRA adapts and quantization shrinks."""
        query_width = self.heads * self.head_dim
        attention = 2 * self.hidden * query_width + 2 * self.hidden * self.kv_width
        return attention + 3 * self.hidden * self.intermediate

    @property
    def layer_parameters(self) -> int:
        """Of one decoder layer: linear layers and its two norms."""
        return self.linear_parameters + 2 * self.hidden

    @property
    def vision_layer_parameters(self) -> int:
        """Of one CLIP layer: attention and the two-layer MLP with biases, two layer norms."""
        wide, narrow = self.vision_intermediate, self.vision_hidden
        return 4 * (narrow**2 + narrow) + 2 * narrow * wide + wide + narrow + 4 * narrow

    @property
    def projector_parameters(self) -> int:
        return self.vision_hidden * self.hidden + self.hidden**2 + 2 * self.hidden

    @property
    def vision_rest_parameters(self) -> int:
        """Of the CLIP tower outside its layers: class and patch embedding, positions, the norms before and after."""
        patches = CHANNELS * self.patch_size**2 + self.image_tokens + 1
        return self.vision_hidden * (1 + patches + 4)

    @property
    def language_rest_parameters(self) -> int:
        """Of the language model outside its layers: embedding, output layer, last norm."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2) + self.hidden

    @property
    def rest_parameters(self) -> int:
        """Outside all layers: what FSDP gathers with the root of the model."""
        return self.language_rest_parameters + self.projector_parameters + self.vision_rest_parameters

    @property
    def vision_parameters(self) -> int:
        return self.vision_layers * self.vision_layer_parameters + self.vision_rest_parameters

    @property
    def parameters(self) -> int:
        """Of the whole model."""
        return (
            self.layers * self.layer_parameters
            + self.language_rest_parameters
            + self.projector_parameters
            + self.vision_parameters
        )

    def adapter_parameters(self, rank: int) -> int:
        """Of a LoRA of this rank on the seven linear layers of every decoder layer: rank x (inputs + outputs) each."""
        query_width = self.heads * self.head_dim
        attention = 2 * (self.hidden + query_width) + 2 * (self.hidden + self.kv_width)
        return self.layers * rank * (attention + 3 * (self.hidden + self.intermediate))


LLAVA_15_7B = ModelShape()
LLAVA_15_13B = replace(LLAVA_15_7B, hidden=5120, layers=40, intermediate=13_824, heads=40, kv_heads=40)
SHAPES = {"llava-1.5-7b": LLAVA_15_7B, "llava-1.5-13b": LLAVA_15_13B}
"""By the value of `plan.model`."""


def shape_of(config: PipelineConfig) -> ModelShape:
    """The shape of the run's base model: the toy world's, that of a local folder's config.json, else `plan.model`.

    Raises CheckpointError for a config.json that is no LLaVA's.
    """
    base = config.base_model
    if base.kind == "toyworld":
        return _toy_shape(base)
    if config.plan.model is not None:
        return SHAPES[config.plan.model]
    file = Path(base.path) / "config.json"
    if file.is_file():
        return read_shape(file)
    return next((shape for name, shape in SHAPES.items() if name in base.path.lower()), LLAVA_15_7B)


def read_shape(file: Path) -> ModelShape:
    """The shape that a checkpoint's config.json describes; what it leaves out has transformers' defaults.

    Raises CheckpointError.
    """
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        text, vision = values["text_config"], values["vision_config"]
        heads, hidden = text.get("num_attention_heads", 32), text.get("hidden_size", 4096)
        return ModelShape(
            hidden=hidden,
            layers=text.get("num_hidden_layers", 32),
            intermediate=text.get("intermediate_size", 11_008),
            heads=heads,
            kv_heads=text.get("num_key_value_heads") or heads,
            head_dim=text.get("head_dim") or hidden // heads,
            vocabulary=text.get("vocab_size", 32_000),
            tied=bool(values.get("tie_word_embeddings", text.get("tie_word_embeddings", False))),
            vision_hidden=vision.get("hidden_size", 768),
            vision_layers=vision.get("num_hidden_layers", 12),
            vision_intermediate=vision.get("intermediate_size", 3072),
            image_size=vision.get("image_size", 224),
            patch_size=vision.get("patch_size", 32),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{file}: not a LLaVA's configuration ({type(error).__name__}: {error}); expected the hub's llava-hf layout "
            "with the sections text_config and vision_config"
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
