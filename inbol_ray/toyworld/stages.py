"""Stages of the toy world: corpora, instruction data, and a new model with a pretrained vision tower."""

import os

import ray
import ray.data

from inbol_ray.config.corpora import ToyWorldConfig
from inbol_ray.config.model import PromptConfig, ToyBaseModel
from inbol_ray.config.schema import PipelineConfig
from inbol_ray.config.section import Section
from inbol_ray.method.prompts import PROMPTS_VERSION
from inbol_ray.runtime.progress import write_progress
from inbol_ray.runtime.stage import Stage, StageContext
from inbol_ray.store.local_copies import written_to

SHARD_ROWS = 2_500
REPORT_EVERY_STEPS = 25


class ToyCorporaSettings(Section):
    toyworld: ToyWorldConfig
    seed: int


class InstructSettings(Section):
    num_pretrain_images: int
    num_captioned_images: int
    prompts: PromptConfig
    prompts_version: int = PROMPTS_VERSION
    seed: int


class VisionSettings(Section):
    base_model: ToyBaseModel
    prompts: PromptConfig
    prompts_version: int = PROMPTS_VERSION
    seed: int


def corpora_stage(config: PipelineConfig) -> Stage[ToyCorporaSettings]:
    settings = ToyCorporaSettings(toyworld=config.toyworld, seed=config.seed)
    return Stage("toyworld", "render the toy world's corpora", build_corpora, version=1, settings=settings)


def instruct_stage(config: PipelineConfig) -> Stage[InstructSettings]:
    settings = InstructSettings(
        num_pretrain_images=config.toyworld.num_pretrain_images,
        num_captioned_images=config.toyworld.num_captioned_images,
        prompts=config.prompts,
        seed=config.seed,
    )
    return Stage("instruct", "write the instruction corpus", build_instruct, version=1, settings=settings)


def vision_stage(config: PipelineConfig) -> Stage[VisionSettings]:
    settings = VisionSettings(base_model=config.base_model, prompts=config.prompts, seed=config.seed)
    return Stage("vision", "pretrain the vision tower", build_vision_model, version=1, settings=settings)


def build_corpora(context: StageContext[ToyCorporaSettings]) -> dict[str, int]:
    """Stage: every corpus of the toy world in its official format, under `corpora/`."""
    from inbol_ray.toyworld.corpora import write_corpora

    counts = write_corpora(context.folder / "corpora", context.settings.toyworld, context.settings.seed)
    return {"questions": sum(counts.values())}


def build_instruct(context: StageContext[InstructSettings]) -> dict[str, int]:
    """Stage: the visual instruction corpus, one Ray task a shard; writes `conversations-*` and `captions-*.parquet`."""
    from inbol_ray.toyworld.instruct import captioned_scenes

    settings = context.settings
    total = settings.num_pretrain_images
    captioned = captioned_scenes(total, settings.num_captioned_images)
    tasks = [
        _write_shard.remote(
            context.uri,
            start,
            min(start + SHARD_ROWS, total),
            total,
            settings.seed,
            settings.prompts.model_dump(),
            {scene for scene in captioned if start <= scene < start + SHARD_ROWS},
            context.progress,
        )
        for start in range(0, total, SHARD_ROWS)
    ]
    return {"conversations": sum(ray.get(tasks)), "captions": len(captioned)}


@ray.remote(num_cpus=1)
def _write_shard(
    uri: str, start: int, stop: int, total: int, seed: int, prompts: dict, captioned: set[int], progress: str
) -> int:
    from inbol_ray.toyworld.instruct import write_conversations

    with written_to(uri) as folder:
        write_conversations(folder, start, stop, seed, PromptConfig(**prompts), captioned, uri)
    write_progress(progress, stop - start, total, "scenes", part=f"shard-{start}")
    return stop - start


def build_vision_model(context: StageContext[VisionSettings]) -> dict[str, int]:
    """Stage: a new LLaVA whose vision tower has been pretrained; Ray Data renders the batches that it learns from."""
    base, seed = context.settings.base_model, context.settings.seed
    drawn = ray.data.range(base.vision_steps, override_num_blocks=min(base.vision_steps, 48)).map_batches(
        _draw_batches, batch_size=None, fn_kwargs={"batch_size": base.vision_batch_size, "seed": seed}, num_cpus=1
    )
    drawn.context.execution_options.preserve_order = True  # one seed is one model, whichever task ends first
    return {"steps": _train_vision(context, drawn.iter_batches(batch_size=base.vision_batch_size, prefetch_batches=4))}


def _draw_batches(batch: dict, batch_size: int, seed: int) -> dict:
    import numpy as np

    from inbol_ray.toyworld.vision_data import draw_vision_batch

    drawn = [draw_vision_batch(int(index), batch_size, seed) for index in batch["id"]]
    return {key: np.concatenate([one[key] for one in drawn]) for key in drawn[0]}


def _train_vision(context: StageContext[VisionSettings], batches) -> int:
    import torch

    from inbol_ray.toyworld.base_model import build_model, build_processor, pretrain_vision, save_new_model

    base = context.settings.base_model
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    processor = build_processor(context.settings.prompts)
    model = build_model(base, processor, context.settings.seed)
    step = 0
    for step, metrics in enumerate(pretrain_vision(model, batches, base), start=1):
        if step % REPORT_EVERY_STEPS == 0:
            note = f"colour {metrics['colour_accuracy']:.0%}, shape {metrics['shape_accuracy']:.0%}"
            write_progress(context.progress, step, base.vision_steps, "steps", note)
    save_new_model(model, processor, context.folder / "model")
    return step
