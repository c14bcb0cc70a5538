"""Stages for tests of what runs and keeps them: a function of a module, and any values as settings."""

import importlib

from inbol_ray.config.section import Section
from inbol_ray.runtime.stage import Stage


class Values(Section):
    values: dict = {}


def plain_stage(name: str, function: str, values: dict | None = None, version: int = 1, **inputs: Stage) -> Stage:
    """`function` is `module:name`, looked up when the stage is computed."""
    module, _, attribute = function.partition(":")

    def call(context):
        return getattr(importlib.import_module(module), attribute)(context)

    return Stage(name, name, call, version=version, settings=Values(values=values or {}), inputs=inputs)
