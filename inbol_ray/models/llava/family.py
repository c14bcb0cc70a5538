"""LLaVA-1.5 as a `ModelFamily`."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inbol_ray.models.family import ModulePaths
from inbol_ray.models.llava.chat import LlavaChat
from inbol_ray.models.llava.layout import is_original_layout
from inbol_ray.models.llava.modules import PATHS, freeze_unused_layers
from inbol_ray.models.llava.shape import SHAPES, read_shape
from inbol_ray.models.shape import ModelShape


@dataclass(frozen=True)
class Llava:
    """LLaVA-1.5: a CLIP tower, a two-layer projector, a Llama."""

    name: str = "llava"
    example: str = "llava-hf/llava-1.5-7b-hf"
    chat: LlavaChat = LlavaChat()
    modules: ModulePaths = PATHS

    def claims(self, config: dict[str, Any]) -> bool:
        """LLaVA's own layout too, so that `check_config` can say where to get the other."""
        return config.get("model_type") == self.name or is_original_layout(config)

    def check_config(self, config: dict[str, Any], path: Path) -> None:
        from inbol_ray.models.llava.checks import check_config

        check_config(config, path)

    def image_tokens(self, processor: Any) -> int:
        from inbol_ray.models.llava.processor import count_image_tokens

        return count_image_tokens(processor)

    @property
    def shapes(self) -> Mapping[str, ModelShape]:
        return SHAPES

    def read_shape(self, config: Mapping[str, Any]) -> ModelShape:
        return read_shape(config)

    def model_class(self) -> Any:
        from transformers import LlavaForConditionalGeneration

        return LlavaForConditionalGeneration

    def processor_class(self) -> type:
        from transformers import LlavaProcessor

        return LlavaProcessor

    def complete_processor(self, processor: Any, checkpoint: str) -> None:
        from inbol_ray.models.llava.processor import complete_processor

        complete_processor(processor, checkpoint)

    def finish_processor(self, folder: Path, load: Callable[[], Any]) -> None:
        from inbol_ray.models.llava.processor import complete_file, pad_in_file

        pad_in_file(folder)
        complete_file(folder, load)

    def image_problems(self, folder: Path, processor: Any, config: Any) -> Iterator[str]:
        from inbol_ray.models.llava.checks import image_problems

        return image_problems(folder, processor, config)

    def tensor_name_problem(self, names: Iterable[str]) -> str | None:
        from inbol_ray.models.llava.checks import tensor_name_problem

        return tensor_name_problem(names)

    def freeze_unused_layers(self, model: Any) -> None:
        freeze_unused_layers(model)


LLAVA = Llava()
