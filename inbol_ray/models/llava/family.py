"""LLaVA-1.5 as a `ModelFamily`."""

from dataclasses import dataclass
from typing import Any

from inbol_ray.models.family import ModulePaths
from inbol_ray.models.llava.chat import LlavaChat
from inbol_ray.models.llava.modules import PATHS, freeze_unused_layers


@dataclass(frozen=True)
class Llava:
    """LLaVA-1.5: a CLIP tower, a two-layer projector, a Llama."""

    name: str = "llava"
    example: str = "llava-hf/llava-1.5-7b-hf"
    chat: LlavaChat = LlavaChat()
    modules: ModulePaths = PATHS

    def claims(self, config: dict[str, Any]) -> bool:
        return config.get("model_type") == self.name

    def image_tokens(self, processor: Any) -> int:
        """576 of LLaVA-1.5's."""
        from PIL import Image

        blank = Image.new("RGB", (64, 64))
        ids = processor(images=blank, text=self.chat.image_token).input_ids[0]
        return list(ids).count(processor.tokenizer.convert_tokens_to_ids(self.chat.image_token))

    def model_class(self) -> Any:
        from transformers import LlavaForConditionalGeneration

        return LlavaForConditionalGeneration

    def processor_class(self) -> type:
        from transformers import LlavaProcessor

        return LlavaProcessor

    def complete_processor(self, processor: Any, checkpoint: str) -> None:
        from inbol_ray.models.llava.processor import complete_processor

        complete_processor(processor, checkpoint)

    def freeze_unused_layers(self, model: Any) -> None:
        freeze_unused_layers(model)


LLAVA = Llava()
