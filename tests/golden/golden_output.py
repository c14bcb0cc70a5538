"""What is kept of a stage's output on small input, and the rule that it changes only with a version.

parts of an output -> plain JSON values -> {part: SHA-256 and excerpt}; (kept, found) -> what to do about it
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inbol_ray.runtime.stage import Stage

DIGITS = 4
"""Significant digits of a float that are compared: what differs between processors lies far behind them."""
EXCERPT_CHARS = 240
FOLDER = "FOLDER"
"""Stands for the folder that a case works in."""


@dataclass(frozen=True)
class Golden:
    """`versions` by name: the stage's own, those in its settings, and `input`, the number of the case's input.

    `parts`: for each part of the output the SHA-256 of its canonical JSON, and its beginning for a reader.
    """

    versions: dict[str, int]
    parts: dict[str, dict[str, str]]

    @property
    def digests(self) -> dict[str, str]:
        return {name: part["sha256"] for name, part in self.parts.items()}

    def changed_parts(self, other: "Golden") -> list[str]:
        """Names of the parts that are not the same in both."""
        names = sorted(self.digests.keys() | other.digests.keys())
        return [name for name in names if self.digests.get(name) != other.digests.get(name)]


def golden(stage: Stage, output: Mapping[str, Any], folder: Path, num_input: int) -> Golden:
    parts = {}
    for name, value in output.items():
        text = json.dumps(plain(value), sort_keys=True, ensure_ascii=False).replace(str(folder), FOLDER)
        parts[name] = {"sha256": hashlib.sha256(text.encode()).hexdigest(), "begins": text[:EXCERPT_CHARS]}
    return Golden(versions_of(stage) | {"input": num_input}, parts)


def versions_of(stage: Stage) -> dict[str, int]:
    """The stage's version and every `*_version` field of its settings."""
    named = {name: value for name, value in stage.settings if name.endswith("_version")}
    return {"version": stage.version} | named


def plain(value: Any) -> Any:
    """JSON values of rows, arrays and tensors, floats rounded to DIGITS significant ones."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if hasattr(value, "tolist"):  # NumPy's and torch's
        return plain(value.tolist())
    if isinstance(value, float) and np.isfinite(value):
        rounded = float(f"{value:.{DIGITS}g}")
        return rounded + 0.0  # of -0.0 and 0.0 one
    return value


def is_announced(kept: Golden | None, found: Golden) -> bool:
    """Whether `found` may take the place of `kept`: no version was lowered, and where the output is another, one was
    raised. A case that is new may always be kept."""
    if kept is None:
        return True
    shared = kept.versions.keys() & found.versions.keys()
    lowered = any(found.versions[name] < kept.versions[name] for name in shared)
    raised = any(found.versions[name] > kept.versions.get(name, 0) for name in found.versions)
    return not lowered and (raised or kept.digests == found.digests)


def read_golden(path: Path) -> dict[str, Golden]:
    return {name: Golden(**kept) for name, kept in json.loads(path.read_text()).items()} if path.exists() else {}


def write_golden(path: Path, cases: Mapping[str, Golden]) -> None:
    kept = {name: vars(cases[name]) for name in sorted(cases)}
    path.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
