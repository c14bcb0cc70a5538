"""Configuration -> the Ray Serve application: a gateway, and an engine deployment a checkpoint."""

import os
import time
from pathlib import Path

from ray import serve
from ray.serve.schema import LoggingConfig

from inbol_ray.artifacts import open_store
from inbol_ray.calibration.thresholds import load_calibration
from inbol_ray.cluster_resources import engine_resources, place_engines
from inbol_ray.config.load import load_config
from inbol_ray.config.schema import PipelineConfig
from inbol_ray.config.serving import ServedModel
from inbol_ray.errors import ConfigError, MissingInputError
from inbol_ray.local_copies import set_job_storage
from inbol_ray.pipeline import build_stages
from inbol_ray.serving.engine_replica import EngineReplica
from inbol_ray.serving.gateway import Gateway, Offer
from inbol_ray.serving.keys import KEYS_VARIABLE, is_loopback, load_keys

HEALTH_CHECK_PERIOD_S = 2
_QUIET = LoggingConfig(enable_access_log=False, log_level="WARNING")


def build(args: dict[str, str | list[str]]) -> serve.Application:
    """What a Serve configuration names: `args` are options of the configuration, `config` one or more files.

    `${NAME}` is taken from the environment. Raises what `build_application` raises.
    """
    options = []
    for key, value in args.items():
        for text in value if isinstance(value, list) else [value]:
            options += [f"--{key}", os.path.expandvars(str(text))]
    return build_application(load_config(options))


def build_application(config: PipelineConfig) -> serve.Application:
    """Raises ConfigError and MissingInputError for whatever would keep a replica from starting. Ray must be up."""
    set_job_storage(config.storage)
    serving = config.serving
    if serving is None:
        raise ConfigError("serving: missing; add the section, see jobs/configs/demo.yaml")
    if not load_keys(serving.api_keys_file) and not is_loopback(serving.host):
        raise ConfigError(
            f"serving.host {serving.host!r} is open to others: set {KEYS_VARIABLE} or serving.api_keys_file first"
        )
    offers = {name: _offer(name, model, config) for name, model in serving.models.items()}
    adapters: dict[str, dict[str, str]] = {}
    for offer in offers.values():
        adapters.setdefault(offer.engine, {})
        if offer.adapter:
            adapters[offer.engine][offer.adapter] = _absolute(serving.models[offer.adapter].lora)
    checkpoints = {offer.engine: offer.checkpoint for offer in offers.values()}
    engines = {name: _engine(name, checkpoint, adapters[name], config) for name, checkpoint in checkpoints.items()}
    gateway = serve.deployment(
        name="gateway",
        num_replicas=serving.num_gateways,
        # Engines bound what is worked on; a gateway that queued by itself could not say so.
        max_ongoing_requests=100_000,
        graceful_shutdown_timeout_s=serving.drain_timeout_s,
        health_check_period_s=HEALTH_CHECK_PERIOD_S,
        max_surge_percent=100,  # a new version starts before the old one stops
        ray_actor_options={"num_cpus": 0.1},
        logging_config=_QUIET,
        user_config={},
    )(Gateway)
    settings = serving.model_dump() | {"api_keys_file": _absolute(serving.api_keys_file)}
    return gateway.bind(settings, offers, engines, int(time.time()))


def _engine(name: str, checkpoint: str, adapters: dict[str, str], config: PipelineConfig) -> serve.Application:
    serving, engine = config.serving, place_engines(config.engine)
    resources = engine_resources(engine)
    deployment = serve.deployment(
        name=f"engine-{name}",
        max_ongoing_requests=serving.max_ongoing,
        max_queued_requests=serving.max_queued,
        autoscaling_config={
            "min_replicas": serving.min_replicas,
            "max_replicas": serving.max_replicas,
            "target_ongoing_requests": serving.target_ongoing,
        },
        graceful_shutdown_timeout_s=serving.drain_timeout_s,
        health_check_period_s=HEALTH_CHECK_PERIOD_S,
        max_surge_percent=100,  # a new version starts before the old one stops
        ray_actor_options={
            "num_cpus": resources["CPU"],
            "num_gpus": resources.get("GPU", 0),
            "runtime_env": {"env_vars": {"VLLM_LOGGING_LEVEL": "ERROR"} | set_job_storage(config.storage)},
        },
        logging_config=_QUIET,
    )(EngineReplica)
    return deployment.bind(checkpoint, engine.model_dump(), config.seed, adapters, serving.max_image_pixels)


def _offer(name: str, model: ServedModel, config: PipelineConfig) -> Offer:
    store, stages = open_store(config), build_stages(config)
    checkpoint, calibration_file = model.path, model.calibration
    if model.method is not None:
        stage = stages.get("base" if model.method == "original" else model.method)
        if stage is None:  # `original` is a checkpoint from outside
            checkpoint = config.base_model.path
        elif store.manifest(stage) is None:
            raise MissingInputError(
                f"serving.models.{name}: {model.method!r} has not been trained for this configuration; run `make demo`, "
                "or python jobs/pipeline.py with the same --config, first"
            )
        else:
            checkpoint = f"{store.uri(stage)}/model"
        fitted = stages.get("calibrate")
        if calibration_file is None and model.lora is None and fitted is not None and store.manifest(fitted):
            file = store.folder(fitted) / f"{model.method}.json"
            calibration_file = file if file.exists() else None
    checkpoint, calibration = _absolute(checkpoint), None
    if calibration_file is not None:
        calibration = load_calibration(Path(calibration_file), checkpoint)
    elif model.target_risk is not None:
        raise ConfigError(f"serving.models.{name}.target_risk needs a calibration: run python jobs/calibrate.py first")
    sharing = [other for other, entry in config.serving.models.items() if _same_base(entry, model)]
    return Offer(sharing[0], checkpoint, name if model.lora else None, calibration)


def _same_base(one: ServedModel, other: ServedModel) -> bool:
    return (one.method, one.path) == (other.method, other.path)


def _absolute(path: str | None) -> str | None:
    """Replicas run in other directories than the driver; what is no path here (a hub name) stays as it is."""
    return str(Path(path).resolve()) if path is not None and Path(path).exists() else path
