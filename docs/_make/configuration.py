"""The schema of configurations -> docs/configuration.md, every setting with its type, default and documentation.

usage: python docs/_make/configuration.py

A test fails when the page is not what this writes.
"""

from pathlib import Path
from types import NoneType
from typing import Annotated, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from inbol_ray.config.schema import PipelineConfig

PAGE = Path(__file__).parents[1] / "configuration.md"
TOP = [
    ("base_model.path", "the checkpoint whose knowledge is sampled and trained"),
    ("corpora", "training questions: dataset, split, folder or `s3://`"),
    ("sampling.num_samples", "answers drawn per question, which is what costs most on real data"),
    ("sampling.adaptive", "stop sampling a question once its class is decided"),
    (
        "classes.delta_known",
        "the least confidence of a Known question; `classes.delta_unknown`: the greatest of an Unknown one",
    ),
    ("unanswerable.num_kept", "how many unanswerable questions the training data gets"),
    ("training.NAME.learning_rate", "one for each method"),
    ("training.NAME.beta", "how far CA-DPO may move from its reference"),
    ("engine.num_engines", "vLLM engines at work at once"),
    ("output_dir", "a folder that every node reaches, or `s3://bucket/prefix`"),
]
INTRODUCTION = """# Configuration

A run is one YAML file, or several that merge from left to right; the shipped ones are in `jobs/configs/`. Options on the
command line come last: `--training.ca_dpo.beta 0.2`. Their values are YAML, and lists are replaced whole:
`--evaluation.methods '[original, sft]'`. Unknown keys are errors. *Ours* marks a value that the paper does not state.

This page is written by `python docs/_make/configuration.py` from the schema, `inbol_ray/config`.

## Ten settings that matter
"""
_BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}


def render() -> str:
    """The whole page."""
    lines = [INTRODUCTION, "| setting | decides |", "|---|---|"]
    lines += [f"| `{name}` | {meaning} |" for name, meaning in TOP]
    waiting, seen = [("", PipelineConfig)], set()
    while waiting:
        path, section = waiting.pop(0)
        if section in seen:
            continue
        seen.add(section)
        inner = _describe(lines, path, section)
        waiting = inner + waiting
    return "\n".join(lines) + "\n"


def _describe(lines: list[str], path: str, section: type[BaseModel]) -> list[tuple[str, type[BaseModel]]]:
    """Append one section's heading and table; return the sections inside it, with their paths."""
    title = f"`{path}`" if path else "Top level"
    lines += ["", f"## {title}: {section.__name__}", "", " ".join((section.__doc__ or "").split()), ""]
    lines += ["| setting | type | default | meaning |", "|---|---|---|---|"]
    inner = []
    for name, field in section.model_fields.items():
        name = field.alias or name
        lines.append(
            f"| `{name}` | {_cell(_type(field.annotation) + _bounds(field.metadata))} | {_cell(_default(field))} | "
            f"{_cell(field.description or '')} |"
        )
        bare = _without_none(field.annotation)
        step = {dict: f"{name}.NAME", list: f"{name}[]"}.get(get_origin(bare), name)
        inner += [(f"{path}.{step}".lstrip("."), one) for one in _sections(field.annotation)]
    return inner


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if isinstance(field.default, BaseModel):
        return "see its section"
    return f"`{'null' if field.default is None else str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def _sections(annotation) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [section for part in get_args(annotation) for section in _sections(part)]


def _without_none(annotation):
    while get_origin(annotation) is Annotated or NoneType in get_args(annotation):
        annotation = next(part for part in get_args(annotation) if part is not NoneType)
    return annotation


def _type(annotation) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(parts[0]) + _bounds(parts[1:])
    if origin is Literal:
        return " | ".join(f"`{part}`" for part in parts)
    if origin is Union or origin.__class__ is type(int | str) or type(annotation) is type(int | None):
        return " | ".join(dict.fromkeys(map(_type, parts)))
    if origin is not None:
        return f"{origin.__name__} of {' to '.join(map(_type, parts))}"
    if annotation is NoneType:
        return "null"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation.__name__
    return getattr(annotation, "__name__", "any value")


def _bounds(metadata) -> str:
    parts = [part for entry in metadata for part in getattr(entry, "metadata", [entry])]
    return "".join(
        f" {sign} {getattr(part, key)}" for part in parts for key, sign in _BOUNDS.items() if hasattr(part, key)
    )


def main() -> None:
    PAGE.write_text(render())


if __name__ == "__main__":
    main()
