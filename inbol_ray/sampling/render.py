"""Requests -> what vLLM's engine takes: token ids and preprocessed pixels.

columns `id`, `prompt`, `images` -> image files decoded -> vLLM's own renderer -> EngineInput, or an InvalidRequest that says
why not

This is the work that would make an engine wait, so it runs in processes of its own: the engine only ever adds finished
inputs. A bad row is refused here and never reaches an engine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inbol_ray.config.machines import EngineConfig
from inbol_ray.images import ImageError, checkpoint_pad_colour, load_images, pixel_rule
from inbol_ray.models import family_of
from inbol_ray.pixels import PixelRule
from inbol_ray.sampling.engine_settings import engine_args
from inbol_ray.store.local_copies import local_copy

MAX_DETAIL_CHARS = 500

EngineInput = Any
"""vLLM's `EngineInput`: the output of its `Renderer.render_cmpl`, picklable. Kept opaque."""


@dataclass(frozen=True)
class InvalidRequest:
    """Why a request cannot be answered: a slug to count by, and the sentence."""

    reason: str
    detail: str


class Renderer:
    """vLLM's renderer of one checkpoint, without an engine. It starts on any node, with or without a device."""

    def __init__(self, checkpoint: str, config: EngineConfig) -> None:
        from vllm.config import CacheConfig, DeviceConfig, VllmConfig
        from vllm.renderers.registry import renderer_from_config

        folder = local_copy(checkpoint)
        # Not `create_engine_config`: it asks for the platform's device, and vLLM's build for GPUs has no platform on a
        # node without one ("Device string must not be empty").
        self._model_config = engine_args(folder, config, seed=0).create_model_config()
        vllm_config = VllmConfig(
            model_config=self._model_config,
            device_config=DeviceConfig(device="cpu"),
            cache_config=CacheConfig(enable_prefix_caching=True),  # images are named by what they show
        )
        self._renderer = renderer_from_config(vllm_config)
        self._image_token = family_of(folder).chat.image_token
        self._pad_colour = checkpoint_pad_colour(folder)

    def render(self, rows: Sequence[Mapping]) -> list[EngineInput | InvalidRequest]:
        """One result a row, in order. Rows have `id`, `prompt` and `images` (references, in prompt order)."""
        return [self._render(row["prompt"], row["images"], pixel_rule(row["id"])) for row in rows]

    def _render(self, prompt: str, references: Sequence[str], rule: PixelRule) -> EngineInput | InvalidRequest:
        from vllm.exceptions import VLLMClientError
        from vllm.renderers.inputs.preprocess import parse_model_prompt

        placeholders = prompt.count(self._image_token)
        if placeholders != len(references):
            return InvalidRequest(
                "prompt_refused", f"the prompt has {placeholders} {self._image_token} for {len(references)} images"
            )
        try:
            images = load_images(references, self._pad_colour, rule)
        except ImageError as error:
            return InvalidRequest("unreadable_image", str(error)[:MAX_DETAIL_CHARS])
        parts: dict = {"prompt": prompt}
        if images:
            parts["multi_modal_data"] = {"image": images}
        try:
            parsed = parse_model_prompt(self._model_config, parts)
            return self._renderer.render_cmpl([parsed], self._renderer.default_cmpl_tok_params)[0]
        except (ValueError, VLLMClientError) as error:
            return InvalidRequest("prompt_refused", f"the engine refused the prompt: {error}"[:MAX_DETAIL_CHARS])
