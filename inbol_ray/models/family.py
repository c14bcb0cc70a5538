"""What a family of vision-language models has to say of itself: the protocol that the rest of the project goes by."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from inbol_ray.models.shape import ModelShape

Turn = tuple[str, int, str | None]
"""A turn of a dialogue: the user's text, the number of images in it, the reply or None."""


class ChatLayout(Protocol):
    """How turns and images are written as the text that the tokenizer reads. Strings in, strings out: no checkpoint.

    A layout is additive: a dialogue is its prompts and replies one behind the other.
    """

    @property
    def image_token(self) -> str:
        """What stands in a prompt for an image; a processor widens it to the image's tokens."""

    @property
    def end_token(self) -> str:
        """The token that ends a reply, in training and in sampling."""

    @property
    def before_reply(self) -> str:
        """The last words of every prompt, after which a reply starts."""

    @property
    def template(self) -> str:
        """The chat template (Jinja) of checkpoints that we make ourselves."""

    @property
    def training_template(self) -> str:
        """The chat template for other trainers: begin token, system text, end token after every reply."""

    def prompt(self, user: str, *, num_images: int = 1, system: str | None = None) -> str:
        """The text of a turn up to its reply. `system` belongs to the first turn alone."""

    def reply(self, text: str) -> str:
        """What a reply adds behind its prompt, end token included."""

    def dialogue(self, turns: Sequence[Turn], system: str | None = None) -> str:
        """The prompt of a dialogue, as training lays it out."""

    def clean(self, text: str) -> str:
        """Text without the special tokens that would change the meaning of a prompt."""


@dataclass(frozen=True)
class ModulePaths:
    """Names of a model's parts (`parts.Parts`), as `nn.Module.get_submodule` takes them."""

    vision_tower: str
    projector: str
    language_model: str
    head: str
    vision_layers: str
    text_layers: str

    @property
    def projector_name(self) -> str:
        """The last part of its name, by which PEFT and optimiser groups find the projector."""
        return self.projector.rpartition(".")[2]


class ModelFamily(Protocol):
    """One family: models that share a layout of prompts, a processor and the names of their modules."""

    @property
    def name(self) -> str:
        """`model_type` in config.json."""

    @property
    def chat(self) -> ChatLayout: ...

    @property
    def example(self) -> str:
        """Hub name of a checkpoint, for error messages."""

    def claims(self, config: dict[str, Any]) -> bool:
        """Whether the contents of a config.json are a model of this family."""

    def check_config(self, config: dict[str, Any], path: Path) -> None:
        """Raise CheckpointError for contents of `path` that are of this family but cannot be sampled and trained."""

    def image_tokens(self, processor: Any) -> int:
        """Tokens that an image of any size becomes, asked from the processor itself.

        For a family whose images become grids of their own size, this takes the image's size too.
        """

    @property
    def shapes(self) -> Mapping[str, ModelShape]:
        """Shapes of known models, by part of their hub names; the usual one first."""

    def read_shape(self, config: Mapping[str, Any]) -> ModelShape:
        """The shape that the contents of a config.json describe.

        Raises KeyError, TypeError, ValueError or AttributeError for contents that describe none.
        """

    @property
    def modules(self) -> ModulePaths: ...

    def model_class(self) -> Any:
        """The class of transformers that holds the weights."""

    def processor_class(self) -> type:
        """The class of transformers that checkpoints of this family must have for a processor."""

    def complete_processor(self, processor: Any, checkpoint: str) -> None:
        """Give a loaded processor the fields that its files lack. Raises CheckpointError where nothing tells them."""

    def finish_processor(self, folder: Path, load: Callable[[], Any]) -> None:
        """Change the copied processor files of an exported model so that plain transformers prepares images as we do.

        `load` gives the complete processor of the model that it was trained from. Raises OSError or ValueError where
        there is no image processor.
        """

    def image_problems(self, folder: Path, processor: Any, config: Any) -> Iterator[str]:
        """One line for each way in which the processor's images do not fit the model; `config` is transformers'."""

    def tensor_name_problem(self, names: Iterable[str]) -> str | None:
        """Why vLLM could not read weights of these names, if so."""

    def freeze_unused_layers(self, model: Any) -> None:
        """Freeze the layers that no output of the model depends on."""
