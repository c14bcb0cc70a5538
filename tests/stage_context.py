"""The context of a stage that a test calls by itself, in local folders."""

from pathlib import Path

from inbol_ray.config.schema import PipelineConfig
from inbol_ray.pipeline import build_stages
from inbol_ray.runtime.stage import StageContext


def stage_context(folder: Path, config: PipelineConfig, stage: str, **inputs: Path) -> StageContext:
    """A context of a stage of a configuration that writes to `folder` and reads `inputs`; nobody hears of its
    progress."""
    return StageContext(
        folder=folder,
        uri=str(folder),
        input_uris={key: str(path) for key, path in inputs.items()},
        settings=build_stages(config)[stage].settings,
        progress=folder.name,
        resume=str(folder / "resume"),
        replies=str(Path(config.output_dir).resolve() / "replies"),
        storage=config.storage,
    )
