"""YAML files and command line -> PipelineConfig. Imports no ML library.

Order: defaults < `--config` files left to right < `--a.b value`. Written here because pydantic-settings' command line
cannot reach into a dictionary of tagged unions (`--training.ca_dpo.beta 0.5`), which is what an experiment changes
most; with YAML values and a deep merge any path works, and the schema does the checking.
"""

import difflib
import sys
import types
import typing
from pathlib import Path

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticUndefined

from inbol_ray.config.schema import PipelineConfig
from inbol_ray.errors import ConfigError


def parse_job_args(description: str, argv: list[str] | None = None) -> PipelineConfig:
    """What every `jobs/*.py` calls first: `--help` exits 0, a bad configuration exits 2 before anything starts."""
    argv = sys.argv[1:] if argv is None else argv
    if "--help" in argv or "-h" in argv:
        print(render_help(description))
        raise SystemExit(0)
    try:
        return load_config(argv)
    except ConfigError as error:
        print("\n".join(f"error: {line}" for line in str(error).splitlines()), file=sys.stderr)
        raise SystemExit(2) from None


def load_config(argv: list[str]) -> PipelineConfig:
    """Read `--config` files and overrides. Raises ConfigError that names every wrong field."""
    values: dict = {}
    overrides: dict = {}
    files = 0
    for key, text in _split_arguments(argv):
        if key == "config":
            files += 1
            values = deep_merge(values, _read_yaml(Path(text)))
        else:
            overrides = deep_merge(overrides, _nest(key.split("."), _parse_value(key, text)))
    if not files:
        raise ConfigError("no configuration: give --config FILE, for example --config jobs/configs/demo.yaml")
    try:
        return PipelineConfig.model_validate(deep_merge(values, overrides))
    except ValidationError as error:
        raise ConfigError(_explain(error)) from None


def deep_merge(base: dict, over: dict) -> dict:
    """`over` on top of `base`; mappings merge, everything else (lists too) is replaced."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = deep_merge(merged[key], value) if both else value
    return merged


def _split_arguments(argv: list[str]) -> list[tuple[str, str]]:
    pairs, waiting = [], list(argv)
    while waiting:
        argument = waiting.pop(0)
        if not argument.startswith("--"):
            raise ConfigError(f"unexpected argument {argument!r}: options are --config FILE and --section.field VALUE")
        key, equals, text = argument[2:].partition("=")
        if not equals:
            if not waiting:
                raise ConfigError(f"{argument} needs a value: {argument} VALUE")
            text = waiting.pop(0)
        pairs.append((key, text))
    return pairs


def _nest(path: list[str], value) -> dict:
    for name in reversed(path):
        value = {name: value}
    return value


def _parse_value(key: str, text: str):
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"--{key}: {text!r} is not a YAML value; quote it or check its brackets") from None


def _read_yaml(path: Path) -> dict:
    try:
        values = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the configuration file ({error.strerror})") from None
    except yaml.YAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if getattr(error, "problem_mark", None) else ""
        raise ConfigError(f"{path}{line}: not valid YAML ({getattr(error, 'problem', error)})") from None
    if values is not None and not isinstance(values, dict):
        raise ConfigError(f"{path}: found a {type(values).__name__}, expected sections such as `engine:`")
    return values or {}


def _explain(error: ValidationError) -> str:
    """One line a wrong field: where, what was expected, what was found, and a near name for an unknown key."""
    lines = []
    for fault in error.errors():
        path = ".".join(map(str, _written_path(fault["loc"]))) or "configuration"
        if fault["type"] == "extra_forbidden":
            near = difflib.get_close_matches(str(fault["loc"][-1]), _ALL_FIELDS, 1)
            lines.append(f"{path}: unknown key" + (f"; did you mean {near[0]!r}?" if near else ""))
        elif fault["type"] == "missing":
            lines.append(f"{path}: missing; add it to the configuration file")
        else:
            found = "" if isinstance(fault["input"], dict) else f"; found {fault['input']!r}"
            lines.append(f"{path}: {fault['msg'].removeprefix('Value error, ')}{found}")
    return "\n".join(lines)


def _written_path(location: tuple) -> tuple:
    """pydantic's error path without the names of union members, which no user wrote."""
    position = {"training": 2, "base_model": 1}.get(location[0], len(location)) if location else 0
    return location[:position] + location[position + 1 :]


def _models_in(annotation) -> list[type[BaseModel]]:
    """Every section model that a field's type mentions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    found = []
    for argument in typing.get_args(annotation):
        found += _models_in(argument)
    return found


def _all_fields(model: type[BaseModel]) -> set[str]:
    names = set(model.model_fields)
    for field in model.model_fields.values():
        for section in _models_in(field.annotation):
            names |= _all_fields(section)
    return names


_ALL_FIELDS = sorted(_all_fields(PipelineConfig))


def render_help(description: str) -> str:
    """Usage and every field of the schema, with its type, default and documentation."""
    lines = [
        description.strip(),
        "",
        "usage: --config FILE [--config FILE ...] [--section.field VALUE ...]",
        "",
        "Files merge left to right, options come last. Values are YAML: --training.ca_dpo.beta 0.5",
    ]
    lines += _describe(PipelineConfig, "", set())
    return "\n".join(lines)


def _describe(model: type[BaseModel], prefix: str, shown: set) -> list[str]:
    shown.add(model)
    lines, sections = ["", f"{(model.__doc__ or '').strip().splitlines()[0]}"], []
    for name, field in model.model_fields.items():
        nested = _models_in(field.annotation)
        default = "" if field.default is PydanticUndefined or nested else f" = {field.default!r}"
        lines.append(f"  --{prefix}{name}: {_type_name(field.annotation)}{default}")
        lines += [f"      {line.strip()}" for line in (field.description or "").splitlines()]
        inner = f"{prefix}{name}." + ("NAME." if typing.get_origin(field.annotation) is dict else "")
        sections += [(section, inner) for section in nested if section not in shown]
    for section, inner in sections:
        if section not in shown:
            lines += _describe(section, inner, shown)
    return lines


def _type_name(annotation) -> str:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation.__name__
    text = str(annotation).replace("typing.", "").replace("inbol_ray.config.schema.", "")
    return text.partition(", FieldInfo")[0].replace("Annotated[", "") if "Annotated" in text else text
