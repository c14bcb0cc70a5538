"""Judge and score replies that came from elsewhere: no Ray, no engine, no GPU.

    from inbol_ray.report.score_file import score_replies
    print(score_replies("replies.jsonl"))

files of replies (`reply_file`) + configured benchmarks -> the report of an evaluation
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from inbol_ray.config.corpora import TOYWORLD_PREFIX, BenchmarkConfig
from inbol_ray.config.machines import StorageConfig
from inbol_ray.config.sampling import ClassConfig, SamplingConfig, ScoringRules
from inbol_ray.config.schema import PipelineConfig
from inbol_ray.config.section import result_settings
from inbol_ray.corpora.source import corpus_source
from inbol_ray.errors import DataError, MissingInputError
from inbol_ray.evaluation.benchmark_questions import NOT_KEPT, BenchmarkQuestions, read_benchmarks, read_questions
from inbol_ray.evaluation.benchmark_scores import merge_rotations, score_benchmarks
from inbol_ray.evaluation.file_predictions import FileJudgement, Missing, judge_file
from inbol_ray.evaluation.metrics import build_results, shared_questions
from inbol_ray.evaluation.prediction_row import Rules
from inbol_ray.evaluation.reply_file import file_digest
from inbol_ray.evaluation.rule_scores import score_rules
from inbol_ray.method.risk_coverage import answers_with_confidence, summarise
from inbol_ray.report.report import render_terminal_table, write_report
from inbol_ray.rows import PREDICTION, REJECTED, Rejected
from inbol_ray.store.local_copies import set_job_storage, written_to
from inbol_ray.store.provenance import git_commit, package_versions
from inbol_ray.store.row_writer import write_rows

REJECTED_FILE = "rejected.parquet"
_MAX_EXAMPLES = 3


@dataclass(frozen=True)
class ScoredReplies:
    """The outcome. `print` shows the table and what could not be used."""

    results: dict
    """Content of `results.json`."""
    benchmarks: list[dict]
    """Scores of each (model, benchmark) pair, as in `benchmarks.json`."""
    predictions: pa.Table
    """PREDICTION rows."""
    rejected: list[Rejected]
    notes: list[str]
    """What was rejected, left out or counted as an error: one sentence each."""

    def __str__(self) -> str:
        return "\n".join([render_terminal_table(self.results), *self.notes])


def score_replies(
    replies: str | Path | Sequence[str | Path],
    *,
    benchmarks: Sequence[BenchmarkConfig] = (),
    config: PipelineConfig | None = None,
    output_dir: str | None = None,
    missing: Missing = "error",
) -> ScoredReplies:
    """Judge the replies of one file or several, and score them as an evaluation does.

    Rows may name questions of `benchmarks`, or of those of `config`, whose rules of scoring then apply too; without
    either they bring their questions. A question that a model has no reply to is an error of the model, or left out
    with `missing="leave_out"`. With `output_dir` (folder or `s3://`) the report is written there: results.json,
    predictions.parquet, report.html, benchmarks.json, and rejected.parquet where rows were rejected.

    Raises DataError where a file cannot be read or holds nothing usable, and MissingInputError for benchmarks of a toy
    world that has not been rendered; ValueError for `benchmarks` beside a `config`.
    """
    paths = [str(path) for path in ([replies] if isinstance(replies, str | Path) else replies)]
    storage = config.storage if config else StorageConfig()
    set_job_storage(storage)
    sampling, scoring = (config.sampling, config.scoring) if config else (SamplingConfig(), ScoringRules())
    rules = Rules(sampling.correct_threshold, scoring)
    classes = config.classes if config else ClassConfig()
    if config and benchmarks:
        raise ValueError("benchmarks and config: give one of them, a configuration has its own benchmarks")
    questions = _configured_benchmarks(config) if config else read_benchmarks(benchmarks)
    notes = [
        f"{name}: {_questions(reasons.total())} of the benchmark cannot be used ({_by_reason(reasons)})."
        for name, reasons in questions.rejected.items()
    ]
    seed = config.seed if config else 0
    judged = {path: judge_file(path, questions.rows, storage, rules, seed=seed, missing=missing) for path in paths}
    rows = [row for judgement in judged.values() for row in judgement.predictions]
    _check_models(judged)
    predictions = pa.Table.from_pylist(
        sorted(rows, key=lambda row: (row["seed"], row["method"], row["benchmark"], row["id"])), schema=PREDICTION
    )
    merged = merge_rotations(predictions)
    comparable = shared_questions(merged)
    notes += [note for path, judgement in judged.items() for note in _describe(path, judgement, missing)]
    if num_apart := merged.num_rows - comparable.num_rows:
        notes.append(
            f"{num_apart:,} replies are to questions that not every model has: they are in benchmarks.json, and left out "
            "of the comparison."
        )
    provenance = {
        "replies": {path: file_digest(path, storage) for path in paths},
        "scoring": result_settings(rules.scoring.rules_alone()),
        "correct_threshold": rules.correct_threshold,
        "benchmarks": [one.model_dump(mode="json") for one in (config.evaluation.benchmarks if config else benchmarks)],
        "git_commit": git_commit(),
        "packages": package_versions(),
    }
    results = build_results(comparable, [], name=config.name if config else "", provenance=provenance, classes=classes)
    results["replies"] = {path: _counts(judgement) for path, judgement in judged.items()}
    if rules_table := score_rules(predictions):
        results["rules"] = rules_table
    if curves := summarise(answers_with_confidence(predictions), "reported"):
        results["risk_coverage"] = curves
    scored = ScoredReplies(
        results,
        score_benchmarks(predictions, classes, rules.scoring),
        predictions,
        [row for judgement in judged.values() for row in judgement.rejected],
        notes,
    )
    if output_dir is not None:
        _write(scored, output_dir, storage, classes)
    return scored


def _check_models(judged: dict[str, FileJudgement]) -> None:
    """Raise DataError where two files hold replies of one model, which would be two replies to a question."""
    seen: dict[tuple[str, int], str] = {}
    for path, judgement in judged.items():
        for key in {(row["method"], row["seed"]) for row in judgement.predictions}:
            if key in seen:
                raise DataError(
                    f"{path}: found replies of model {key[0]!r}, seed {key[1]}, which {seen[key]} has too, expected a model "
                    "and seed in one file. Rename the file or set its field `model`, or put both into one file."
                )
            seen[key] = path


def _counts(judgement: FileJudgement) -> dict:
    reasons = Counter(row.reason for row in judgement.rejected)
    return {
        "rows": judgement.num_rows,
        "used": judgement.num_rows - len(judgement.rejected),
        "rejected": dict(sorted(reasons.items())),
        "without_reply": [
            {"model": model, "benchmark": benchmark, "num_questions": len(ids)}
            for (model, benchmark), ids in judgement.without_reply.items()
        ],
        "ignored_fields": sorted(judgement.ignored_fields),
    }


def _describe(path: str, judgement: FileJudgement, missing: Missing) -> list[str]:
    """What happened to a file's rows, as lines."""
    counts = _counts(judgement)
    lines = [f"{path}: {counts['used']:,} of {counts['rows']:,} rows used."]
    if counts["rejected"]:
        lines.append(f"  {len(judgement.rejected):,} rejected ({_by_reason(counts['rejected'])}):")
    for reason in counts["rejected"]:
        details = [row.detail for row in judgement.rejected if row.reason == reason]
        lines += [f"    {reason}: {detail}" for detail in details[:_MAX_EXAMPLES]]
        if len(details) > _MAX_EXAMPLES:
            lines.append(f"    {reason}: and {len(details) - _MAX_EXAMPLES:,} more")
    fate = "they count as errors" if missing == "error" else "they are left out"
    for (model, benchmark), ids in judgement.without_reply.items():
        examples = ", ".join(ids[:_MAX_EXAMPLES]) + (", ..." if len(ids) > _MAX_EXAMPLES else "")
        lines.append(f"  {model} has no reply to {_questions(len(ids))} of {benchmark} ({examples}); {fate}.")
    if counts["ignored_fields"]:
        lines.append(f"  Fields that were not read: {', '.join(counts['ignored_fields'])}.")
    return lines


def _questions(count: int) -> str:
    return f"{count:,} question{'' if count == 1 else 's'}"


def _by_reason(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in sorted(counts.items()))


def _write(scored: ScoredReplies, output_dir: str, storage: StorageConfig, classes: ClassConfig) -> None:
    with written_to(output_dir, storage) as out_dir:
        write_report(
            scored.results,
            scored.predictions,
            [],
            out_dir,
            delta_known=classes.delta_known,
            delta_unknown=classes.delta_unknown,
        )
        content = {"name": scored.results["name"], **scored.results["provenance"], "scores": scored.benchmarks}
        (out_dir / "benchmarks.json").write_text(json.dumps(content, indent=1))
        # An earlier report's must not stand beside this one.
        (out_dir / REJECTED_FILE).unlink(missing_ok=True)
        if scored.rejected:
            write_rows(out_dir / REJECTED_FILE, (row.to_row() for row in scored.rejected), REJECTED)


def _configured_benchmarks(config: PipelineConfig) -> BenchmarkQuestions:
    """Questions of `evaluation.benchmarks`; what the configuration's run has read before is taken from there.

    Raises DataError as `read_benchmarks`, and MissingInputError for benchmarks of a toy world that is not rendered.
    """
    # Here, so that a file of replies is scored where neither Ray nor an object store's client is installed.
    from inbol_ray.pipeline import build_stages
    from inbol_ray.store.artifacts import open_store

    store, stages = open_store(config), build_stages(config)
    if store.manifest(stages["benchmarks"]) is not None:
        return BenchmarkQuestions(pq.read_table(store.folder(stages["benchmarks"]) / "benchmarks.parquet").to_pylist())
    benchmarks, toyworld = config.evaluation.benchmarks, None
    if any(one.root.startswith(TOYWORLD_PREFIX) for one in benchmarks):
        if store.manifest(stages["toyworld"]) is None:
            raise MissingInputError(
                f"{config.output_dir}: the toy world of this configuration has not been rendered; run the job `pipeline` first"
            )
        toyworld = store.uri(stages["toyworld"])
    return read_questions(corpus_source(one, toyworld, NOT_KEPT, config.storage, config.seed) for one in benchmarks)
