"""Whether what a run is going to write fits on the disk of `output_dir`."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from transformers import AutoConfig, PreTrainedConfig

from inbol_ray.config.schema import PipelineConfig
from inbol_ray.config.training import MethodConfig
from inbol_ray.errors import ResourcesError
from inbol_ray.models.parts import parts_of
from inbol_ray.plan.page import short
from inbol_ray.plan.workload import build_work
from inbol_ray.preflight.folder import build_without_weights, checkpoint_folder
from inbol_ray.runtime.stage import Stage
from inbol_ray.store.artifacts import Store
from inbol_ray.training.disk_use import training_bytes


def check_disk(config: PipelineConfig, stages: Sequence[Stage], store: Store) -> None:
    """Raise ResourcesError where these stages, still to be computed, write more than the disk has room for.

    Models are estimated from the base model's configuration, rows as `jobs/plan.py` does; resumable checkpoints go when
    their training ends, so only the largest counts. What a killed run has left is written already. Nothing is said of
    a store (`s3://`), whose room nobody knows.
    """
    if store.is_remote:
        return
    model = AutoConfig.from_pretrained(checkpoint_folder(config.base_model.path, config.storage))
    finished = {
        source.name: manifest
        for stage in stages
        for source in stage.inputs.values()
        if (manifest := store.manifest(source)) is not None
    }
    work = build_work({stage.name: stage for stage in stages}, config, finished)
    trainings = {name: _training_bytes(config.training[name], model) for name in work.keys() & config.training.keys()}
    models = sum(left for left, _ in trainings.values())
    passing = max((until_then for _, until_then in trainings.values()), default=0)
    rows = sum(one.bytes_written for one in work.values() if one.stage not in trainings)
    there = sum(store.num_bytes(stage.artifact_id) for stage in stages)
    free = shutil.disk_usage(_existing(Path(store.root))).free
    if models + passing + rows - there > free:
        raise ResourcesError(
            f"output_dir {config.output_dir!r} has {short(free)}B free, but the run still writes "
            f"{short(models + passing + rows - there)}B: {len(trainings)} models ({short(models)}B: "
            f"{', '.join(sorted(trainings))}), resumable checkpoints ({short(passing)}B at a time) and rows "
            f"({short(rows)}B), less {short(there)}B that is there already. Make room (python jobs/artifacts.py gc --delete removes "
            "what this configuration does not use), or set output_dir to a larger disk or an s3:// prefix"
        )


def _training_bytes(method: MethodConfig, config: PreTrainedConfig) -> tuple[int, int]:
    """`training_bytes` of the very model that trains."""
    model = build_without_weights(config)
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    if method.lora is not None:
        model = build_without_weights(config, method)
    elif not method.train_vision_tower:
        parts_of(model).vision_tower.requires_grad_(False)
    num_trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return training_bytes(method, num_parameters, num_trained, (config.dtype or model.dtype).itemsize)


def _existing(path: Path) -> Path:
    """The folder itself, or the nearest above it that there is."""
    return path if os.path.exists(path) else _existing(path.parent)
