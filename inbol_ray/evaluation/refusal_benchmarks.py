"""Benchmarks of refusal side by side: scores of `benchmark_scores` -> a table as a JSON object.

They are no part of the paper, so there is nothing to compare with. A row is a method on a benchmark, with the rates by
the benchmark's own types of question (where nothing is answerable, that is the refusal rate by type).
"""

from collections.abc import Mapping, Sequence

from inbol_ray.corpora.breakdown import HUMBLEBENCH, MMUPD, TUBENCH
from inbol_ray.evaluation.metrics import method_order

BENCHMARKS = (*MMUPD, *HUMBLEBENCH, "mohobench", *TUBENCH, "kie_hvqa")
"""In the order of the table."""
_TYPES: dict[str, str] = {**dict.fromkeys(HUMBLEBENCH, "type"), "mohobench": "category"} | dict.fromkeys(
    TUBENCH, "strategy"
)
"""Benchmark -> the class (`corpora.breakdown`) that its official results are broken down by."""

TITLE = "Benchmarks of refusal"


def build_refusal_table(scores: Sequence[Mapping]) -> dict:
    """`title` and `rows`, one for each method and benchmark of `BENCHMARKS` that was run, in that order: `method`,
    `benchmark`, `num_questions`, `num_pairs`, rates in percent (None over nothing), `by_type` and `own`, what only this
    benchmark has. Seeds are averaged.
    """
    found: dict[tuple[str, str], list[Mapping]] = {}
    for row in scores:
        found.setdefault((row["benchmark"], row["method"]), []).append(row)
    methods = method_order({method for _, method in found})
    return {
        "title": TITLE,
        "rows": [
            _build_row(benchmark, method, found[benchmark, method])
            for benchmark in BENCHMARKS
            for method in methods
            if (benchmark, method) in found
        ],
    }


def _build_row(benchmark: str, method: str, rows: Sequence[Mapping]) -> dict:
    own = [row["own"] or {} for row in rows]
    types = [row["classes"].get(_TYPES.get(benchmark, ""), {}) for row in rows]
    return {
        "method": method,
        "benchmark": benchmark,
        "num_questions": rows[0]["num_questions"],
        "num_pairs": rows[0]["pairs"]["num_pairs"] if rows[0]["pairs"] else None,
        "right_rate": _mean(row["right_rate"] for row in rows),
        "answerable_acc": _mean(row["answerable"]["acc"] for row in rows),
        "answerable_refr": _mean(row["answerable"]["refr"] for row in rows),
        "unanswerable_refr": _mean(row["unanswerable"]["refr"] for row in rows),
        "answerability_acc": _mean(row["answerability_acc"] for row in rows),
        "refusal_f1": _mean(row["refusal_f1"] for row in rows),
        "pairs_right_rate": _mean(row["pairs"]["right_rate"] for row in rows if row["pairs"]),
        "by_type": {name: _mean(one[name]["right_rate"] for one in types if name in one) for name in types[0]},
        "own": {name: _mean(one[name] for one in own) for name in own[0]},
    }


def _mean(values) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
