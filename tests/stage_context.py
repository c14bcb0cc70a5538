"""The context of a stage that a test calls by itself, in local folders."""

from pathlib import Path

from inbol_ray.config.schema import PipelineConfig
from inbol_ray.store.artifacts import StageContext


def stage_context(folder: Path, config: PipelineConfig, settings: dict | None = None, **inputs: Path) -> StageContext:
    """A context that writes to `folder` and reads `inputs`; nobody hears of its progress."""
    return StageContext(
        folder=folder,
        uri=str(folder),
        input_uris={key: str(path) for key, path in inputs.items()},
        config=config,
        settings=settings or {},
        progress=folder.name,
        resume=str(folder / "resume"),
    )
