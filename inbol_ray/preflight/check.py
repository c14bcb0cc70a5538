"""All that a run's stages will load, checked before the first of them starts; all problems are told at once.

stages to run -> the checkpoints, adapters and API keys that they name -> problems, one line each -> an error
"""

from collections.abc import Mapping, Sequence

from inbol_ray.config.endpoint import EndpointConfig
from inbol_ray.config.machines import StorageConfig
from inbol_ray.config.schema import PipelineConfig
from inbol_ray.config.training import MethodConfig
from inbol_ray.endpoints.client import read_api_key
from inbol_ray.errors import CheckpointError, ConfigError
from inbol_ray.runtime.stage import Stage
from inbol_ray.sampling.engine_settings import check_quantization
from inbol_ray.store.artifacts import Store

BASE = "base_model.path"


def check_run(config: PipelineConfig, stages: Sequence[Stage], store: Store) -> None:
    """Check what these stages, which are still to be computed, load from outside, and the disk that trainings fill.

    A toy world's base model is made by the run itself: of it there is nothing to check. Raises CheckpointError with
    every problem of every checkpoint, ResourcesError where the models to come do not fit the disk, and ConfigError for a
    quantization that vLLM does not know or an endpoint's API key that is not there.
    """
    names = {stage.name for stage in stages}
    if any(stage.needs == "engines" for stage in stages):
        check_quantization(config.engine)
    uses = {}
    endpoints: dict[str, EndpointConfig] = {}
    methods: dict[str, MethodConfig] = {}
    if config.base_model.kind == "checkpoint" and any(
        getattr(stage.settings, "base_model", None) is not None for stage in stages
    ):
        uses[BASE] = config.base_model.path
        methods = {name: method for name, method in config.training.items() if name in names}
    if "evaluate" in names:
        models = {f"evaluation.models.{name}": model for name, model in config.evaluation.models.items()}
        uses |= {f"{name}.checkpoint": model.checkpoint for name, model in models.items() if model.checkpoint}
        endpoints |= {f"{name}.endpoint": model.endpoint for name, model in models.items() if model.endpoint}
    if "judge" in names:
        judge = config.scoring.judge
        uses |= {"scoring.judge.checkpoint": judge.checkpoint} if judge.checkpoint else {}
        endpoints |= {"scoring.judge.endpoint": judge.endpoint} if judge.endpoint else {}
    check_api_keys(endpoints)
    check_checkpoints(uses, config.storage, methods)
    if methods:
        from inbol_ray.preflight.disk import check_disk

        check_disk(config, stages, store)


def check_api_keys(endpoints: Mapping[str, EndpointConfig]) -> None:
    """Raise ConfigError, one line each, for endpoints (by their setting) whose key is not in this process'
    environment."""
    problems = []
    for setting, endpoint in endpoints.items():
        try:
            read_api_key(endpoint)
        except ConfigError as error:
            problems.append(f"{setting}.{error}")
    if problems:
        raise ConfigError("\n".join(problems))


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
