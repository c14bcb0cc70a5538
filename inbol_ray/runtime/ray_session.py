"""Ray for the time of a run: a cluster's, or a private one on this machine."""

import importlib
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from inbol_ray.config.schema import PipelineConfig
from inbol_ray.runtime.machine import logical_cpus, object_store_bytes, this_machine
from inbol_ray.store.local_copies import set_job_storage


@contextmanager
def started_ray(config: PipelineConfig) -> Iterator[None]:
    """Ray for the time of a run: the configured or surrounding cluster, else one on this machine, taken down after."""
    import ray

    _set_quiet_defaults()
    if ray.is_initialized():
        yield
        return
    address = config.ray.address or os.environ.get("RAY_ADDRESS")
    environment = {
        "env_vars": {
            # vLLM starts three times slower without compiled bytecode, which this variable prevents.
            "PYTHONDONTWRITEBYTECODE": "",
            "HF_HUB_OFFLINE": os.environ.get("HF_HUB_OFFLINE", "0"),
            "TOKENIZERS_PARALLELISM": "false",
        }
        | set_job_storage(config.storage)
    }
    started = time.monotonic()
    if address:
        ray.init(address=address, runtime_env=environment, log_to_driver=False)
    else:
        # It says that this private cluster has a token; one without a token is only ever met by its address, above.
        logging.getLogger("ray._private.authentication.authentication_token_setup").setLevel(logging.ERROR)
        machine = this_machine()
        ray.init(
            address="local",  # not whatever cluster happens to run on this machine
            num_cpus=config.ray.num_cpus or logical_cpus(machine),
            object_store_memory=config.ray.object_store_memory_bytes or object_store_bytes(machine),
            runtime_env=environment,
            include_dashboard=False,
            log_to_driver=False,
            configure_logging=False,
        )
    print(f"Ray is up after {time.monotonic() - started:.1f} s: {_total_resources()}", file=sys.stderr)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    try:
        yield
    finally:
        ray.shutdown()


def _total_resources() -> str:
    import ray

    total = ray.cluster_resources()
    store = total.get("object_store_memory", 0) / 1e9
    return f"{total.get('CPU', 0):g} CPUs, {total.get('GPU', 0):g} GPUs, {store:,.1f} GB of object store"


def _set_quiet_defaults() -> None:
    """Keep third-party chatter out of the stage lines; whoever sets a variable keeps what they set."""
    defaults = {
        "RAY_TRAIN_V2_ENABLED": "1",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
        # One line says that it is set. Without it each engine pool warns that its actors' arguments, which the driver
        # holds, might be lost.
        "RAY_BACKEND_LOG_LEVEL": "fatal",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TRANSFORMERS_VERBOSITY": "error",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    importlib.import_module("ray.data")  # configures its loggers, so it comes first
    for name in ("ray.data", "ray.train", "ray._private.worker"):
        logging.getLogger(name).setLevel(logging.ERROR)
