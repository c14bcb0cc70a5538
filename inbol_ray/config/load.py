"""YAML files and command line -> PipelineConfig. Imports no ML library.

Order: defaults < `--config` files left to right < `--a.b value`. Written here because pydantic-settings' command line
cannot reach into a dictionary of tagged unions (`--training.ca_dpo.beta 0.5`), which is what an experiment changes
most; with YAML values and a deep merge any path works, and the schema does the checking.
"""

import difflib
import json
import sys
import types
import typing
from pathlib import Path

import yaml
from pydantic import BaseModel, ValidationError

from inbol_ray.config.schema import PipelineConfig
from inbol_ray.errors import ConfigError

_BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
_LONGEST_VALUE = 200
"""Characters of a wrong value that an error message quotes."""


def parse_job_args(description: str, argv: list[str] | None = None) -> PipelineConfig:
    """What every `jobs/*.py` calls first: `--help` exits 0, a bad configuration exits 2 before anything starts."""
    try:
        return load_config(sys.argv[1:] if argv is None else argv, description)
    except ConfigError as error:
        print("\n".join(f"error: {line}" for line in str(error).splitlines()), file=sys.stderr)
        raise SystemExit(2) from None


def load_config(argv: list[str], description: str = "") -> PipelineConfig:
    """Read `--config` files and overrides. Raises ConfigError that names every wrong field; `--help` prints and exits."""
    if "--help" in argv or "-h" in argv:
        print(render_help(description))
        raise SystemExit(0)
    options = _split_arguments(argv)
    files = [Path(text) for key, text in options if key == "config"]
    if not files:
        raise ConfigError(
            "no configuration: give --config FILE, for example --config jobs/configs/demo.yaml; `inbol-ray` lists those of an installation"
        )
    values: dict = {}
    for file in files:
        values = deep_merge(values, _read_yaml(file))
    for key, text in options:
        if key != "config":
            _refuse_list_index(values, key)
            values = deep_merge(values, _nest(key.split("."), _parse_value(key, text)))
    try:
        return PipelineConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_explain(error, values)) from None


def deep_merge(base: dict, over: dict) -> dict:
    """`over` on top of `base`; mappings merge, everything else (lists too) is replaced."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = deep_merge(merged[key], value) if both else value
    return merged


def _split_arguments(argv: list[str]) -> list[tuple[str, str]]:
    """`--key value` and `--key=value` as pairs; a value that starts with `--` needs the second form."""
    pairs, waiting = [], list(argv)
    while waiting:
        argument = waiting.pop(0)
        if not argument.startswith("--"):
            raise ConfigError(f"unexpected argument {argument!r}: options are --config FILE and --section.field VALUE")
        key, equals, text = argument[2:].partition("=")
        if not equals:
            if not waiting or waiting[0].startswith("--"):
                raise ConfigError(f"{argument} needs a value: {argument} VALUE")
            text = waiting.pop(0)
        pairs.append((key, text))
    return pairs


def _nest(path: list[str], value) -> dict:
    for name in reversed(path):
        value = {name: value}
    return value


def _refuse_list_index(values, key: str) -> None:
    path = key.split(".")
    for depth, name in enumerate(path):
        values = values.get(name) if isinstance(values, dict) else None
        if isinstance(values, list) and depth < len(path) - 1:
            whole = ".".join(path[: depth + 1])
            raise ConfigError(f"--{key}: {whole} is a list, which is replaced whole: --{whole} '[a, b]'")


def _parse_value(key: str, text: str):
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):  # ValueError: a date that does not exist
        raise ConfigError(f"--{key}: {text!r} is not a YAML value; quote it or check its brackets") from None


def _read_yaml(path: Path) -> dict:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the configuration file ({error.strerror})") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise ConfigError(f"{path}{line}: not valid YAML ({problem})") from None
    except ValueError as error:  # not UTF-8, or a date that does not exist
        raise ConfigError(f"{path}: not valid YAML ({error})") from None
    if values is not None and not isinstance(values, dict):
        raise ConfigError(f"{path}: found a {type(values).__name__}, expected sections such as `engine:`")
    return values or {}


def _explain(error: ValidationError, values: dict) -> str:
    """One line per wrong field: where, what was expected, what was found, and near names for an unknown key."""
    lines = []
    for fault in error.errors():
        path, section = _resolve(fault["loc"])
        where = ".".join(map(str, path)) or "configuration"
        found = _found(fault["input"])
        if fault["type"] == "extra_forbidden":
            lines.append(f"{where}: unknown key{found}{_near(path[-1], section.model_fields)}")
        elif fault["type"] == "missing":
            lines.append(f"{where}: missing; add it to the configuration file")
        elif fault["type"] == "union_tag_not_found":
            siblings = [name for name in values.get(path[0], ()) if name != path[-1]] if len(path) > 1 else []
            lines.append(
                f"{where}: `kind` is missing; expected one of {_tags(fault['loc'])}{_near(path[-1], siblings)}"
            )
        else:
            lines.append(f"{where}: {fault['msg'].removeprefix('Value error, ')}{found}")
    return "\n".join(lines)


def _found(value) -> str:
    if isinstance(value, dict):
        return ""
    text = repr(value)
    return f"; found {text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + '...'}"


def _near(name, choices) -> str:
    # Above difflib's own cutoff: at 0.6 `limit` would be taken for `split`, which is another thing.
    near = difflib.get_close_matches(str(name), [str(choice) for choice in choices], 3, cutoff=0.65)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""


def _resolve(location: tuple) -> tuple[list, type[BaseModel]]:
    """The path as the user wrote it, without pydantic's union members, and the section that its last key is in."""
    path: list = []
    section: type[BaseModel] = PipelineConfig
    annotation = PipelineConfig
    for step in location:
        annotation = _bare(annotation)
        members = _members(annotation)
        if step in members:
            annotation = members[step]
            continue
        if step == "[key]":
            continue
        path.append(step)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            section = annotation
            annotation = annotation.model_fields[step].annotation if step in annotation.model_fields else None
        else:
            annotation = (typing.get_args(annotation) or (None,))[-1]
    return path, section


def _tags(location: tuple) -> list[str]:
    annotation = PipelineConfig
    for step in location:
        annotation = _bare(annotation)
        fields = getattr(annotation, "model_fields", None)
        annotation = fields[step].annotation if fields else typing.get_args(annotation)[-1]
    return list(_members(_bare(annotation)))


def _bare(annotation):
    """Without `Annotated` and `| None`."""
    while True:
        arguments = [part for part in typing.get_args(annotation) if part is not types.NoneType]
        optional = _is_union(annotation) and len(arguments) == 1
        if typing.get_origin(annotation) is not typing.Annotated and not optional:
            return annotation
        annotation = arguments[0]


def _is_union(annotation) -> bool:
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def _members(annotation) -> dict[str, type[BaseModel]]:
    """Sections of a tagged union by their `kind`; empty for anything else."""
    parts = typing.get_args(annotation) if _is_union(annotation) else ()
    if not all("kind" in getattr(part, "model_fields", ()) for part in parts):
        return {}
    return {part.model_fields["kind"].default: part for part in parts}


def render_help(description: str) -> str:
    """Usage and every field of the schema, with its type, default and documentation."""
    lines = [
        description.strip(),
        "",
        "usage: --config FILE [--config FILE ...] [--section.field VALUE ...]",
        "",
        "Files merge left to right, options come last. Values are YAML: --training.ca_dpo.beta 0.5",
        "Lists are replaced whole: --evaluation.methods '[original, sft]'",
    ]
    return "\n".join(lines + _describe(PipelineConfig, "", set()))


def _describe(model: type[BaseModel], prefix: str, shown: set[str]) -> list[str]:
    """A section's fields, then the sections inside it; a line that a union's earlier member had is not repeated."""
    lines, inner = ["", (model.__doc__ or "").strip().splitlines()[0]], []
    for name, field in model.model_fields.items():
        default = " (required)" if field.is_required() else f" = {_default(field.default)}"
        name = field.alias or name
        line = f"  {prefix or '--'}{name}: {_type_name(field.annotation)}{_bounds(field.metadata)}{default}"
        if line in shown:
            continue
        shown.add(line)
        lines += [line, *(f"      {text.strip()}" for text in (field.description or "").splitlines())]
        bare = _bare(field.annotation)
        path = f"{prefix or '--'}{name}."
        if typing.get_origin(bare) is dict:
            path += "NAME."
        elif typing.get_origin(bare) is list:  # not reachable from the command line, so without the dashes
            path = path.removeprefix("--").removesuffix(".") + "[]."
        inner += [(section, path) for section in _sections_in(bare)]
    for section, path in inner:
        lines += _describe(section, path, shown)
    return lines


def _sections_in(annotation) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [section for part in typing.get_args(annotation) for section in _sections_in(part)]


def _default(value) -> str:
    return "(see below)" if isinstance(value, BaseModel) else json.dumps(value)


def _bounds(metadata) -> str:
    parts = [part for entry in metadata for part in getattr(entry, "metadata", [entry])]
    return "".join(
        f" {sign} {getattr(part, key)}" for part in parts for key, sign in _BOUNDS.items() if hasattr(part, key)
    )


def _type_name(annotation) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type_name(arguments[0]) + _bounds(annotation.__metadata__)
    if origin is typing.Literal:
        return " | ".join(map(str, arguments))
    if _is_union(annotation):
        return " | ".join(dict.fromkeys(map(_type_name, arguments)))
    if origin is not None:
        return f"{origin.__name__}[{', '.join(map(_type_name, arguments))}]"
    if annotation is types.NoneType:
        return "null"
    return "section" if isinstance(annotation, type) and issubclass(annotation, BaseModel) else annotation.__name__
