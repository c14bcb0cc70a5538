"""The shape of a model, which is all that planning needs to know of it: no weights, no torch."""

from dataclasses import dataclass

CHANNELS = 3


@dataclass(frozen=True)
class ModelShape:
    """Sizes of a Llama-like decoder, a CLIP-like tower and a two-layer projector between them."""

    hidden: int
    layers: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    vision_hidden: int
    vision_layers: int
    vision_intermediate: int
    image_size: int
    patch_size: int
    tied: bool = False
    """Whether the output layer is the embedding."""

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
        """Of one layer of the tower: attention and the two-layer MLP with biases, two layer norms."""
        wide, narrow = self.vision_intermediate, self.vision_hidden
        return 4 * (narrow**2 + narrow) + 2 * narrow * wide + wide + narrow + 4 * narrow

    @property
    def projector_parameters(self) -> int:
        return self.vision_hidden * self.hidden + self.hidden**2 + 2 * self.hidden

    @property
    def vision_rest_parameters(self) -> int:
        """Of the tower outside its layers: class and patch embedding, positions, the norms before and after."""
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
