"""The entry that a Ray Serve configuration names (`cluster/kuberay/rayservice.yaml`): options -> application."""

import os
import shlex

from inbol_ray.config.load import load_config


def build_service(args: dict[str, str]):
    """The Serve application of `args["options"]`, which are a job's options; `${NAME}` is taken from the environment.

    Raises ConfigError.
    """
    config = load_config(shlex.split(os.path.expandvars(args["options"])))
    from inbol_ray.serving.app import build_application

    return build_application(config)
