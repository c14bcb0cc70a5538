"""Finished stages -> `results.json`, `predictions.parquet` and `report.html` in the run's output folder.

Not a stage: it takes seconds, and the times it reports are not part of any artifact.
"""

import pyarrow.compute as pc
import pyarrow.parquet as pq

from inbol_ray.artifacts import open_store
from inbol_ray.config.schema import PipelineConfig
from inbol_ray.evaluation.metrics import build_results
from inbol_ray.evaluation.report import render_terminal_table, write_report
from inbol_ray.local_copies import written_to
from inbol_ray.pipeline import build_stages


def publish(config: PipelineConfig, manifests: dict[str, dict]) -> dict:
    """Write the report of a finished run and print its table; returns the content of `results.json`."""
    store = open_store(config)
    stages = build_stages(config)
    predictions = pq.read_table(store.folder(stages["evaluate"]) / "predictions.parquet")
    answers = pq.read_table(store.folder(stages["confidence"]) / "answers.parquet")
    train_ids = pq.read_table(store.folder(stages["questions"]) / "train.parquet", columns=["id"])["id"]
    train_answers = answers.filter(pc.is_in(answers["id"], value_set=train_ids.combine_chunks()))
    times = [
        {"stage": name, "wall_s": manifest["wall_s"], "counts": manifest["counts"], "rejected": manifest["rejected"]}
        for name, manifest in manifests.items()
    ]
    latest = manifests["evaluate"]
    provenance = {
        "config": config.model_dump(mode="json"),
        "artifacts": {name: manifest["artifact"] for name, manifest in manifests.items()},
        "git_commit": latest["git_commit"],
        "packages": latest["packages"],
    }
    results = build_results(predictions, times, name=config.name, provenance=provenance)
    with written_to(config.output_dir, config.storage) as out_dir:
        write_report(
            results,
            predictions,
            train_answers["confidence"].to_pylist(),
            out_dir,
            delta_known=config.classes.delta_known,
            delta_unknown=config.classes.delta_unknown,
        )
    print()
    print(render_terminal_table(results))
    print(f"\nReport: {config.output_dir}/report.html   Figures: {config.output_dir}/results.json")
    return results
