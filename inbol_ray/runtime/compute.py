"""Computing a stage: its inputs are finished -> its function -> its artifact and manifest."""

import time
from datetime import UTC, datetime

from inbol_ray.errors import MissingInputError
from inbol_ray.runtime.progress import read_timing
from inbol_ray.runtime.stage import Stage, StageContext, described
from inbol_ray.store.artifacts import Store
from inbol_ray.store.local_copies import written_to
from inbol_ray.store.provenance import code_digest, git_commit, package_versions


def compute(stage: Stage, store: Store) -> dict:
    """Run a stage whose inputs are finished, unless it is finished itself; returns its manifest.

    Two processes may ask for the same artifact: one computes it, the other waits.
    Raises MissingInputError, and whatever the stage raises.
    """
    for key, source in stage.inputs.items():
        if store.manifest(source) is None:
            raise MissingInputError(
                f"stage {stage.name!r} reads {key!r} from stage {source.name!r}, which has not been computed for "
                f"this configuration: run it first (jobs/pipeline.py runs all that is missing)"
            )
    with store.alone(stage):
        if manifest := store.manifest(stage):
            return manifest
        uri = store.begin(stage)
        started = time.monotonic()
        with written_to(uri, store.storage) as folder:
            context = StageContext(
                folder=folder,
                uri=uri,
                input_uris={key: store.uri(source) for key, source in stage.inputs.items()},
                settings=stage.settings,
                progress=stage.artifact_id,
                resume=store.resume_uri(stage),
                replies=store.beside("replies"),
                storage=store.storage,
            )
            context.counts.update(stage.function(context) or {})
            context.close()
        manifest = described(stage) | {
            "counts": context.counts,
            "rejected": dict(context.rejected),
            "wall_s": round(time.monotonic() - started, 2),
            "timing": read_timing(stage.artifact_id),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "code": code_digest(),
            "git_commit": git_commit(),
            "packages": package_versions(),
        }
        return store.finish(stage, uri, manifest)
