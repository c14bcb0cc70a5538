"""Configuration -> the Ray Serve application: one deployment, whose replicas each answer for every model.

Models on one checkpoint share an engine; further checkpoints are further engines of the same replica. What is to scale
apart is another application: another entry of `serve/deployment.yaml`, with a `route_prefix` of its own.
"""

import os
import time
from pathlib import Path

from ray import serve
from ray.serve.schema import LoggingConfig

from inbol_ray.calibration.calibration_file import load_calibration
from inbol_ray.calibration.conditions import current_conditions
from inbol_ray.config.load import load_config
from inbol_ray.config.schema import PipelineConfig
from inbol_ray.config.serving import ServedModel
from inbol_ray.errors import ConfigError, MissingInputError
from inbol_ray.pipeline import build_stages
from inbol_ray.preflight.check import BASE, check_checkpoints
from inbol_ray.runtime.resources import engine_resources, place_engines, replica_resources
from inbol_ray.sampling.engine_settings import check_quantization
from inbol_ray.serving.dial import make_dial
from inbol_ray.serving.keys import KEYS_VARIABLE, is_loopback, load_keys
from inbol_ray.serving.replica import Offer, Replica
from inbol_ray.store.artifacts import open_store
from inbol_ray.store.local_copies import set_job_storage

HEALTH_CHECK_PERIOD_S = 2
_QUIET = LoggingConfig(enable_access_log=False, log_level="WARNING")


def build(args: dict[str, str | list[str]]) -> serve.Application:
    """What a Serve configuration names: `args` are options of the configuration, `config` one or more files.

    `${NAME}` is taken from the environment. Raises what `build_application` raises, and ConfigError without API keys:
    Serve's own `http_options` say who reaches the server, and behind HAProxy every client looks like this machine.
    """
    options = []
    for key, value in args.items():
        for text in value if isinstance(value, list) else [value]:
            options += [f"--{key}", os.path.expandvars(str(text))]
    config = load_config(options)
    if config.serving is not None and not load_keys(config.serving.api_keys_file):
        raise ConfigError(f"a deployment needs API keys: set {KEYS_VARIABLE} on its nodes, or serving.api_keys_file")
    return build_application(config)


def build_application(config: PipelineConfig) -> serve.Application:
    """Raises ConfigError, CheckpointError and MissingInputError for what would keep a replica from starting.

    Ray must be up.
    """
    set_job_storage(config.storage)
    serving = config.serving
    if serving is None:
        raise ConfigError("serving: missing; add the section, as demo.yaml has it")
    if not load_keys(serving.api_keys_file) and not is_loopback(serving.host):
        raise ConfigError(
            f"serving.host {serving.host!r} is open to others: set {KEYS_VARIABLE} or serving.api_keys_file first"
        )
    check_quantization(config.engine)
    _check_outside_checkpoints(config)
    offers = {name: _offer(name, model, config) for name, model in serving.models.items()}
    conditions = current_conditions(config.prompts, config.engine)
    for name, model in serving.models.items():
        dial = make_dial(model, offers[name].calibration, conditions)
        if model.target_risk is not None and dial.obstacles:
            raise ConfigError(
                f"serving.models.{name}.target_risk ({model.target_risk:g}) cannot hold: {'; '.join(dial.obstacles)}"
            )
    engines: dict[str, dict[str, str]] = {offer.checkpoint: {} for offer in offers.values()}
    for name, offer in offers.items():
        if offer.adapter:
            engines[offer.checkpoint][name] = offer.adapter
    engine = place_engines(config.engine)
    resources = replica_resources(engine, len(engines))
    # Ray would allow each engine the threads of all engines together.
    threads = str(max(1, int(engine_resources(engine)["CPU"])))
    environment = {"VLLM_LOGGING_LEVEL": "ERROR", "OMP_NUM_THREADS": threads}
    deployment = serve.deployment(
        name="server",
        # A replica keeps its own bounds, and says 429 in the clients' dialect; this one keeps bodies out of memory.
        max_ongoing_requests=2 * (serving.max_ongoing + serving.max_queued),
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
            "runtime_env": {"env_vars": environment | set_job_storage(config.storage)},
        },
        logging_config=_QUIET,
        user_config={},
    )(Replica)
    settings = serving.model_dump() | {"api_keys_file": _absolute(serving.api_keys_file)}
    return deployment.bind(settings, offers, engines, engine.model_dump(), config.seed, int(time.time()), conditions)


def _check_outside_checkpoints(config: PipelineConfig) -> None:
    """Raise CheckpointError for what is wrong with the models that this project has not made."""
    models = config.serving.models.items()
    uses = {f"serving.models.{name}.path": model.path for name, model in models if model.path is not None}
    if config.base_model.kind == "checkpoint" and any(model.method == "original" for _, model in models):
        uses[BASE] = config.base_model.path
    check_checkpoints(uses, config.storage)


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
                "or the job `pipeline` with the same --config, first"
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
        raise ConfigError(f"serving.models.{name}.target_risk needs a calibration: run the job `calibrate` first")
    return Offer(checkpoint, _absolute(model.lora), calibration)


def _absolute(path: str | None) -> str | None:
    """Replicas run in other directories than the driver; what is no path here (a hub name) stays as it is."""
    return str(Path(path).resolve()) if path is not None and Path(path).exists() else path
