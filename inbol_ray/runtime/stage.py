"""A stage: a function, the settings that it alone receives, the artifacts it reads, what it asks for, and its version.

Each stage is declared beside its function, and that is the only place that says any of this:

    def data_stage(config: PipelineConfig, confidence: Stage) -> Stage:
        return Stage("data", "build IDK and preference data", build_data, version=1, settings=..., inputs=...)

`inbol_ray.pipeline.build_stages` puts the stages of a configuration together. A stage's artifact is named after the
SHA-256 of its name, its version, its settings (all that are not `RunOnly`) and the fingerprints of what it reads. So a
finished artifact is found again however the code was moved, and whoever changes what a stage computes raises its
version: golden outputs in `tests/golden/` fail until that is done.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from inbol_ray.config.machines import StorageConfig
from inbol_ray.config.model import BaseModelConfig
from inbol_ray.config.section import Section, result_settings
from inbol_ray.errors import RowCountError
from inbol_ray.rows import REJECTED, Rejected
from inbol_ray.runtime.work import Needs, Sizes, Work
from inbol_ray.store.local_copies import local_copy
from inbol_ray.store.row_writer import RowWriter

S = TypeVar("S", bound=Section)


@dataclass(frozen=True)
class Stage(Generic[S]):
    """One step of the pipeline, computed by `function`, which returns counts to report."""

    name: str
    title: str
    """What a user reads."""
    function: Callable[["StageContext[S]"], dict[str, int]]
    version: int
    """Raised whenever the same settings and inputs give another result."""
    settings: S
    inputs: dict[str, "Stage"] = field(default_factory=dict)
    """The stages whose artifacts it reads, by the name under which its function finds them."""
    after: tuple["Stage", ...] = ()
    """Stages that must have passed before it is run, and that change nothing of its result."""
    needs: Needs = "tasks"
    streams: bool = False
    """Whether its rows pass through the driver in pieces; the rows of other stages are all in its memory."""
    work: Callable[[S, Sizes], Work] | None = None
    """How much work it is, for `inbol_ray.plan`; None for one that takes seconds."""

    @cached_property
    def fingerprint(self) -> str:
        parts = {
            "name": self.name,
            "version": self.version,
            "settings": result_settings(self.settings),
            "inputs": {key: stage.fingerprint for key, stage in self.inputs.items()},
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def artifact_id(self) -> str:
        return f"{self.name}-{self.fingerprint[:12]}"


def present(**inputs: "Stage | None") -> dict[str, Stage]:
    """The inputs that a configuration has."""
    return {key: stage for key, stage in inputs.items() if stage is not None}


@dataclass
class StageContext(Generic[S]):
    """What a stage's function gets: the folder to write, the artifacts to read, and its settings."""

    folder: Path
    """The driver writes here, on its own machine."""
    uri: str
    """Where the artifact's files can be read by any process, now or later: an absolute path, or an `s3://` URI. Other
    processes than the driver write to parts of it with `local_copies.written_to`."""
    input_uris: dict[str, str]
    settings: S
    progress: str
    """Artifact id, under which `progress.write_progress` reports."""
    resume: str
    """Path or `s3://` URI of a folder that survives a crash, for stages that can go on from the middle."""
    replies: str
    """Folder or `s3://` prefix of the replies that all evaluations of the run share."""
    storage: StorageConfig = StorageConfig()
    counts: dict[str, int] = field(default_factory=dict)
    rejected: Counter[str] = field(default_factory=Counter)
    """Number of rejected rows by reason."""

    @cached_property
    def _rejects(self) -> RowWriter:
        return RowWriter(self.folder / "rejected.parquet", REJECTED)

    @property
    def inputs(self) -> Mapping[str, Path]:
        """The artifacts to read as folders on this machine; one in a store is copied when it is asked for."""
        return _LocalFolders(self.input_uris)

    def reject(self, rows: Iterable[Rejected]) -> None:
        """Write rows that the stage could not use to `rejected.parquet` and count them by reason."""
        for row in rows:
            self.rejected[row.reason] += 1
            self._rejects.write(row.to_row())

    def close(self) -> None:
        """Finish `rejected.parquet`, if anything was rejected."""
        if self.rejected:
            self._rejects.close()

    def check_rows(self, num_in: int, num_out: int) -> None:
        """Raise RowCountError unless every row that came in came out or was rejected, once."""
        if num_in != num_out + self.rejected.total():
            raise RowCountError(
                f"{self.progress}: {num_in} rows in, but {num_out} out and {self.rejected.total()} rejected"
            )

    def checkpoint(self, key: str, base_model: BaseModelConfig) -> str:
        """The model of input `key`; where no stage makes it, the configured base model (absolute if it is a folder).

        May be an `s3://` URI: `local_copies.local_copy` makes it a folder.
        """
        if key in self.input_uris:
            return f"{self.input_uris[key]}/model"
        return str(Path(base_model.path).resolve()) if Path(base_model.path).is_dir() else base_model.path


class _LocalFolders(Mapping[str, Path]):
    def __init__(self, uris: dict[str, str]) -> None:
        self._uris = uris

    def __getitem__(self, key: str) -> Path:
        return Path(local_copy(self._uris[key]))

    def __iter__(self) -> Iterator[str]:
        return iter(self._uris)

    def __len__(self) -> int:
        return len(self._uris)


def described(stage: Stage) -> dict[str, Any]:
    """What an artifact was made from and with, for its manifest: `RunOnly` settings too."""
    return {
        "stage": stage.name,
        "artifact": stage.artifact_id,
        "fingerprint": stage.fingerprint,
        "version": stage.version,
        "settings": stage.settings.model_dump(mode="json"),
        "inputs": {key: source.artifact_id for key, source in stage.inputs.items()},
    }
