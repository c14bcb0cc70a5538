"""Running the stages of a configuration."""

from contextlib import nullcontext
from pathlib import Path

from inbol_ray.config.schema import PipelineConfig
from inbol_ray.errors import ConfigError
from inbol_ray.pipeline import build_stages, with_ancestors
from inbol_ray.preflight.check import check_run
from inbol_ray.runtime.compute import compute
from inbol_ray.runtime.progress_sinks import start_board, submission_id, watched
from inbol_ray.runtime.ray_session import started_ray
from inbol_ray.runtime.resources import check_asks, growth_limits, nodes_up, place_engines, stage_asks, waiting_for
from inbol_ray.store.artifacts import open_store


def run_stages(config: PipelineConfig, targets: list[str] | None = None) -> dict[str, dict]:
    """Compute the target stages (None: all) and what they read; returns manifests by name. Prints one line per stage."""
    stages = build_stages(config)
    store = open_store(config)
    wanted = with_ancestors(stages, targets)
    missing = [name for name in wanted if store.manifest(stages[name]) is None]
    _check_output_dir(config)
    manifests = {}
    with started_ray(config) if missing else nullcontext():
        board = None
        if missing:
            check_run(config, [stages[name] for name in missing], store)
            engine = place_engines(config.engine)
            asks = {name: stage_asks(stages[name], engine) for name in missing}
            if not config.ray.nodes_may_join:
                check_asks(asks, nodes_up(), growth_limits())
            board = start_board()
        for number, name in enumerate(wanted, start=1):
            stage = stages[name]
            label = f"[{number:>2}/{len(wanted)}] {stage.title:<32}"
            cached = store.manifest(stage)
            if cached is None:
                with watched(stage, label, board, lambda name=name: waiting_for(asks[name], nodes_up())):
                    manifests[name] = compute(stage, store)
                board.finish.remote(manifests[name])
            else:
                manifests[name] = cached
            print(label, _describe(manifests[name], cached is not None), flush=True)
    return manifests


def _check_output_dir(config: PipelineConfig) -> None:
    """Raise ConfigError in a submitted job whose results would vanish with its copy of the working folder."""
    if submission_id() and "://" not in config.output_dir and not Path(config.output_dir).is_absolute():
        raise ConfigError(
            f"output_dir is {config.output_dir!r}: a submitted job runs in a copy of the working folder that is thrown "
            "away; pass --output_dir with an absolute path that every node reaches"
        )


def _describe(manifest: dict, cached: bool) -> str:
    counts = "  ".join(f"{value:,} {key.replace('_', ' ')}" for key, value in manifest["counts"].items())
    rejected = sum(manifest["rejected"].values())
    if rejected:
        counts += (
            f"  {rejected:,} rejected ({', '.join(f'{n} {reason}' for reason, n in manifest['rejected'].items())})"
        )
    took = "finished before" if cached else f"{manifest['wall_s']:.1f} s"
    return f"{took:>15}  {counts}"
