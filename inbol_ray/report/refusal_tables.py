"""Benchmarks of refusal side by side: scores of `benchmark_scores` -> a table as a JSON object -> Markdown.

They are no part of the paper, so there is nothing to compare with. A line is a method on a benchmark; beside it stand
the rates by the benchmark's own types of question (where nothing is answerable, that is the refusal rate by type).
"""

from collections.abc import Mapping, Sequence

from inbol_ray.corpora.breakdown import HUMBLEBENCH, MMUPD, TUBENCH
from inbol_ray.evaluation.metrics import method_order

LABELS = {name: f"MM-UPD {kind[2:].upper()}, {setting}" for name in MMUPD for kind, setting in [name.split("_")]} | {
    "humblebench": "HumbleBench",
    "humblebench_e": "HumbleBench-E (None of the above is right)",
    "humblebench_gn": "HumbleBench-GN (noise)",
    "mohobench": "MoHoBench",
    "tubench_ucr": "TUBench UCR",
    "tubench_uvqa": "TUBench UVQA",
    "tubench_ugeoqa": "TUBench UGeoQA",
    "tubench_utabmwp": "TUBench UTabMWP",
    "kie_hvqa": "KIE-HVQA",
}
"""Benchmark -> what the table calls it."""
_TYPES: dict[str, str] = {**dict.fromkeys(HUMBLEBENCH, "type"), "mohobench": "category"} | dict.fromkeys(
    TUBENCH, "strategy"
)
"""Benchmark -> the class (`corpora.breakdown`) that its official results are broken down by."""

TITLE = "Benchmarks of refusal"
_NOTE = (
    "Percent. Right: answered correctly, or refused where nothing can be answered; as due: answered or refused as the "
    "question can be, whatever the answer; F1: of refusing, for questions that cannot be answered; pairs: of questions "
    "that count only together."
)
_RATES = {
    "right_rate": "right",
    "answerable_acc": "Acc, answerable",
    "answerable_refr": "RefR, answerable",
    "unanswerable_refr": "RefR, unanswerable",
    "answerability_acc": "as due",
    "refusal_f1": "F1 of refusing",
    "pairs_right_rate": "pairs right",
}
"""Rate -> the head of its column."""


def build_refusal_table(scores: Sequence[Mapping]) -> dict:
    """`title` and `rows`, one for each method and benchmark of `LABELS` that was run, in that order: `method`,
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
            for benchmark in LABELS
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


def render_refusal_table(table: Mapping) -> str:
    """Markdown; an empty text where no benchmark of refusal was run."""
    if not table["rows"]:
        return ""
    head = ["benchmark", "questions", *_RATES.values()]
    lines = ["| | " + " | ".join(head) + " |", "| --- | --- |" + " ---: |" * (len(head) - 1)]
    types = []
    for row in table["rows"]:
        label = LABELS[row["benchmark"]]
        cells = [label, f"{row['num_questions']:,}", *(_text(row[name]) for name in _RATES)]
        lines.append(f"| {row['method']} | " + " | ".join(cells) + " |")
        if row["by_type"]:
            listed = ", ".join(f"{name} {_text(rate)}" for name, rate in row["by_type"].items())
            types.append(f"{label}, {row['method']}, right by type: {listed}.")
        if row["own"]:
            listed = ", ".join(f"{name.replace('_', ' ')} {_text(rate)}" for name, rate in row["own"].items())
            types.append(f"{label}, {row['method']}: {listed}.")
    return "\n\n".join([f"## {table['title']}", _NOTE, "\n".join(lines), *types]) + "\n"


def _text(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:.2f}"
