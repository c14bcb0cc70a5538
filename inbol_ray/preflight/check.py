"""All that a run's stages will load, checked before the first of them starts; all problems are told at once.

stages to run -> the checkpoints and adapters that they name -> problems, one line each -> CheckpointError
"""

from collections.abc import Mapping, Sequence

from inbol_ray.artifacts import Stage, Store
from inbol_ray.cluster_resources import ENGINE_STAGES
from inbol_ray.config.machines import StorageConfig
from inbol_ray.config.schema import PipelineConfig
from inbol_ray.config.training import MethodConfig
from inbol_ray.errors import CheckpointError
from inbol_ray.sampling.engine_settings import check_quantization

BASE = "base_model.path"


def check_run(config: PipelineConfig, stages: Sequence[Stage], store: Store) -> None:
    """Check what these stages, which are still to be computed, load from outside, and the disk that trainings fill.

    A toy world's base model is made by the run itself: of it there is nothing to check. Raises CheckpointError with
    every problem of every checkpoint, ResourcesError where the models to come do not fit the disk, and ConfigError for a
    quantization that vLLM does not know.
    """
    names = {stage.name for stage in stages}
    if names & set(ENGINE_STAGES):
        check_quantization(config.engine)
    uses = {}
    methods: dict[str, MethodConfig] = {}
    if config.base_model.kind == "checkpoint" and any("base_model" in stage.settings for stage in stages):
        uses[BASE] = config.base_model.path
        methods = {name: method for name, method in config.training.items() if name in names}
    if "evaluate" in names:
        models = config.evaluation.models
        uses |= {
            f"evaluation.models.{name}.checkpoint": model.checkpoint
            for name, model in models.items()
            if model.checkpoint is not None
        }
    check_checkpoints(uses, config.storage, methods)
    if methods:
        from inbol_ray.preflight.disk import check_disk

        check_disk(config, stages, store)


def check_checkpoints(
    uses: Mapping[str, str], storage: StorageConfig, methods: Mapping[str, MethodConfig] | None = None
) -> None:
    """Raise CheckpointError for what is wrong with any of these checkpoints.

    `uses`: folder, hub name or `s3://` URI by the setting that names it. `methods` are trained from BASE.
    """
    settings: dict[str, list[str]] = {}
    for setting, checkpoint in uses.items():
        settings.setdefault(checkpoint, []).append(setting)
    problems = []
    for checkpoint, named_by in settings.items():
        # Here, so that a run without a checkpoint from outside imports no model library.
        from inbol_ray.preflight.folder import find_problems

        found = find_problems(checkpoint, storage, methods if BASE in named_by else None)
        problems += [f"{' and '.join(named_by)}: {problem}" for problem in found]
    if problems:
        found = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise CheckpointError(f"{found} in the checkpoints, so no stage was started:\n  " + "\n  ".join(problems))
