"""Finished stages -> `results.json`, `predictions.parquet` and `report.html` in the run's output folder.

Not a stage: it takes seconds, and the times it reports are not part of any artifact.
"""

import json

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from inbol_ray.calibration.stage import RISK_COVERAGE
from inbol_ray.config.schema import PipelineConfig
from inbol_ray.config.section import result_settings
from inbol_ray.evaluation.benchmark_scores import merge_rotations, score_benchmarks
from inbol_ray.evaluation.estimator_auroc import compare_estimators
from inbol_ray.evaluation.in_domain_test import score_in_domain_test
from inbol_ray.evaluation.metrics import build_results, shared_questions
from inbol_ray.evaluation.paper_tables import build_tables
from inbol_ray.evaluation.refusal_benchmarks import build_refusal_table
from inbol_ray.evaluation.rule_scores import score_rules
from inbol_ray.evaluation.usage import read_usage
from inbol_ray.judging.agreement import compare_with_judge
from inbol_ray.method.risk_coverage import answers_with_confidence, summarise
from inbol_ray.pipeline import build_stages
from inbol_ray.report.benchmark_tables import (
    render_agreement,
    render_refusal_table,
    render_rules_table,
    render_tables,
    render_usage,
)
from inbol_ray.report.report import render_terminal_table, write_report
from inbol_ray.store.artifacts import open_store
from inbol_ray.store.local_copies import written_to


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
    comparable = shared_questions(merge_rotations(predictions))
    results = build_results(comparable, times, name=config.name, provenance=provenance, classes=config.classes)
    if rules := score_rules(predictions):
        results["rules"] = rules
    if config.evaluation.in_domain_test is not None:
        results["in_domain_test"] = score_in_domain_test(predictions, config.evaluation.in_domain_test, config.seed)
    if "test_confidence" in stages:
        test_answers = pq.read_table(store.folder(stages["test_confidence"]) / "answers.parquet")
        results["estimators"] = compare_estimators(predictions, test_answers)
    if usage := read_usage(store.folder(stages["evaluate"])):
        results["endpoints"] = usage
    if compared := compare_with_verdicts(config, predictions):
        results["judge"] = compared
    curves = summarise(answers_with_confidence(predictions), "reported")
    if "calibrate" in manifests:
        curves = json.loads((store.folder(stages["calibrate"]) / RISK_COVERAGE).read_text()) + curves
    if curves:
        results["risk_coverage"] = curves
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
    publish_benchmarks(config)
    return results


def publish_benchmarks(config: PipelineConfig) -> dict:
    """Score a finished evaluation, one row per (model, benchmark) pair, write `benchmarks.json` and, as `tables.md`, the paper's
    tables, that of the benchmarks of refusal and of Acc under each rule, what endpoints were asked and how far a judge
    agrees, and print those; returns the content of `benchmarks.json`."""
    store = open_store(config)
    folder = store.folder(build_stages(config)["evaluate"])
    predictions, usage = pq.read_table(folder / "predictions.parquet"), read_usage(folder)
    compared = compare_with_verdicts(config, predictions)
    scores = score_benchmarks(predictions, config.classes, config.scoring)
    test = config.evaluation.in_domain_test
    in_domain_test = score_in_domain_test(predictions, test, config.seed) if test else []
    tables = build_tables(scores, config.evaluation, in_domain_test)
    refusal_table = build_refusal_table(scores)
    content = {
        "name": config.name,
        "scoring": result_settings(config.scoring.rules_alone()),
        "correct_threshold": config.sampling.correct_threshold,
        "prompts": config.prompts.model_dump(mode="json"),
        "scores": scores,
        **({"in_domain_test": in_domain_test} if test else {}),
        **({"endpoints": usage} if usage else {}),
        **({"judge": compared} if compared else {}),
        "tables": tables,
        "refusal_table": refusal_table,
        "rules": (rules := score_rules(predictions)),
    }
    texts = (
        *(render_tables(tables), render_refusal_table(refusal_table), render_rules_table(rules)),
        *(render_usage(usage), render_agreement(compared)),
    )
    markdown = "\n".join(filter(None, texts))
    with written_to(config.output_dir, config.storage) as out_dir:
        (out_dir / "benchmarks.json").write_text(json.dumps(content, indent=1))
        (out_dir / "tables.md").write_text(markdown)
    print()
    print(markdown)
    print(f"Every benchmark: {config.output_dir}/benchmarks.json   Tables: {config.output_dir}/tables.md")
    return content


def compare_with_verdicts(config: PipelineConfig, predictions: pa.Table) -> dict | None:
    """`compare_with_judge` of a finished run; None where no judge is configured."""
    stages = build_stages(config)
    if "judge" not in stages:
        return None
    return compare_with_judge(
        predictions, pq.read_table(open_store(config).folder(stages["judge"]) / "verdicts.parquet")
    )
