"""What each section of the page shows: content of `results.json` -> plain values for the templates of the same name.

Here numbers are chosen, placed and put in order; words, tags and the form of a number are the templates'. A section's
view is None (or empty) where there is nothing to show. Percent throughout; several seeds are averaged where one figure
stands for a method.
"""

import json
from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa

from inbol_ray.config.sampling import ClassConfig
from inbol_ray.evaluation.metrics import DOMAINS, method_order
from inbol_ray.evaluation.rule_scores import RULES
from inbol_ray.method.classes import classify
from inbol_ray.method.penalty import MAX_PENALTY, PENALTIES, order_changes, penalised_score
from inbol_ray.method.risk_coverage import RISKS
from inbol_ray.report.benchmark_tables import agreement_grids
from inbol_ray.report.gallery import Example, Picture, choose_examples, embed_image
from inbol_ray.report.plots import (
    bin_points,
    confidence_histogram,
    line_panel,
    method_style,
    penalty_panel,
    risk_panel,
    roc_panel,
)
from inbol_ray.report.wording import (
    DOMAIN_LABELS,
    Difference,
    differences,
    mean_scores,
    method_label,
    number,
    seeds_of,
)

View = dict
"""Values for a template."""
_BIN_TITLES = {"refr": "Refusal rate", "answered_acc": "Accuracy when answered"}
_ESTIMATOR_LABELS = {
    "confidence": "Accuracy-based confidence (needs the reference)",
    "self_consistency": "Self-consistency",
    "likelihood": "Likelihood",
}
_RISK_COLUMNS = {
    "aurc": "AURC",
    **{f"coverage_at_{100 * risk:g}": f"Cov. at {100 * risk:g}%" for risk in RISKS},
    "ece_equal_width": "ECE, equal width",
    "ece_equal_mass": "ECE, equal mass",
}
_SIGNALS = ("first_token", "reported")


def kicker(results: Mapping) -> str:
    """The line above the finding: the run's name and its seeds."""
    seeds = seeds_of(results)
    told = f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}" if seeds else ""
    return " \u00b7 ".join(filter(None, (results["name"], "teaching LLaVA to refuse with InBoL", told)))


def hero(results: Mapping) -> list[View]:
    """By domain, a bar per method: shares of correct, refused and wrong replies."""
    panels = []
    for domain in DOMAINS:
        if scores := mean_scores(results, domain):
            best = max(round(values["s_trust"], 1) for values in scores.values())
            bars = [
                {
                    "method": method,
                    "shares": {
                        "correct": values["acc"],
                        "refused": values["refr"],
                        "wrong": max(0.0, 100 - values["acc"] - values["refr"]),
                    },
                    "s_trust": values["s_trust"],
                    "is_best": round(values["s_trust"], 1) == best,
                }
                for method, values in scores.items()
            ]
            panels.append({"domain": domain, "questions": _question_count(results, domain), "bars": bars})
    return panels


def _question_count(results: Mapping, domain: str) -> str:
    counts = {row["num_questions"] for row in results["results"] if row["domain"] == domain}
    seeds = len(seeds_of(results))
    return f"{max(counts):,} questions" + (f", {seeds} seeds" if seeds > 1 else "")


def scores(results: Mapping) -> View:
    """A table per domain, and every benchmark by itself."""
    return {
        "num_errors": sum(row["num_errors"] for row in results["results"]),
        "tables": [table for domain in DOMAINS if (table := _scores_table(results, domain))],
        "benchmarks": [
            {"benchmark": benchmark, "row": row, "scores": found}
            for domain in DOMAINS
            for benchmark in sorted({n for r in results["results"] if r["domain"] == domain for n in r["benchmarks"]})
            for row in results["results"]
            if row["domain"] == domain and (found := row["benchmarks"].get(benchmark))
        ],
    }


def _scores_table(results: Mapping, domain: str) -> View | None:
    """`parts`: groups of columns, each of all questions, or of those that can or cannot be answered."""
    rows = [row for row in results["results"] if row["domain"] == domain]
    if not rows:
        return None
    parts = [{"name": "", "title": "All questions", "columns": ("s_trust", "acc", "refr", "answered_acc")}]
    if any(row["answerable"]["num_questions"] for row in rows):
        parts.append({"name": "answerable", "title": "Answerable", "columns": ("acc", "refr", "answered_acc")})
    if any(row["unanswerable"]["num_questions"] for row in rows):
        parts.append({"name": "unanswerable", "title": "Unanswerable", "columns": ("refr",)})
    best: dict[int, float] = {}
    for row in rows:
        if row["s_trust"] is not None:
            best[row["seed"]] = max(best.get(row["seed"], -100.0), round(row["s_trust"], 1))
    return {
        "domain": domain,
        "questions": _question_count(results, domain),
        "parts": parts,
        "several_seeds": len(seeds_of(results)) > 1,
        "rows": [
            row | {"is_best": row["s_trust"] is not None and round(row["s_trust"], 1) == best[row["seed"]]}
            for row in rows
        ],
    }


def rules(results: Mapping) -> View | None:
    """Acc under each rule of scoring."""
    rows = results.get("rules")
    if not rows:
        return None
    heads = ["Method", "Benchmark", "Replies", *(f"Acc, {rule}" for rule in RULES), "Only free_text", "Not free_text"]
    grid = [
        [method_label(row["method"]), row["benchmark"], f"{row['num_questions']:,}"]
        + [number(row["acc"][rule]) for rule in RULES]
        + [f"{row['only_free_text']:,}", f"{row['not_free_text']:,}"]
        for row in rows
    ]
    return {"grid": [heads, *grid]}


def gaps(results: Mapping) -> View | None:
    """Paired differences of S_trust on one scale. `left`, `width`, `dot`, `zero`: places on it in percent."""
    found = differences(results)
    if not found:
        return None
    ends = [end for one in found.values() for end in (*(one.interval or ()), one.value, 0.0)]
    low, high = min(ends), max(ends)
    margin = 0.04 * (high - low) or 1.0

    def place(value: float) -> float:
        return 100 * (value - low + margin) / (high - low + 2 * margin)

    tables = [
        {
            "domain": domain,
            "rows": [
                _gap(f"{method_label(method)} \u2212 {method_label(baseline)}", one, place)
                for (method, baseline, where), one in found.items()
                if where == domain
            ],
        }
        for domain in DOMAINS
    ]
    return {"num_seeds": len(seeds_of(results)), "tables": [table for table in tables if table["rows"]]}


def _gap(label: str, one: Difference, place: Callable[[float], float]) -> View:
    low, high = one.interval or (one.value, one.value)
    return {
        "label": label,
        "value": one.value,
        "interval": one.interval,
        "is_clear": one.verdict != 0,
        "zero": place(0),
        "left": place(low),
        "width": place(high) - place(low),
        "dot": place(one.value),
    }


def penalty(results: Mapping) -> View | None:
    """S(lambda) of every method, and where two change places."""
    by_domain = {domain: found for domain in DOMAINS if (found := mean_scores(results, domain))}
    if not by_domain:
        return None
    return {
        "max_penalty": MAX_PENALTY,
        "panels": [_penalty_panel(found, domain) for domain, found in by_domain.items()],
    }


def _penalty_panel(found: Mapping[str, Mapping[str, float]], domain: str) -> View:
    methods = list(found)
    curves = {
        method: [(price, penalised_score(values["acc"], values["refr"], price)) for price in PENALTIES]
        for method, values in found.items()
    }
    described = f"S by lambda {DOMAIN_LABELS[domain]}. " + " ".join(
        f"{method_label(method)}: from {number(curve[0][1])} at 0 to {number(curve[-1][1])} at {MAX_PENALTY:g}."
        for method, curve in curves.items()
    )
    styled = [(method_style(method, methods), curve) for method, curve in curves.items()]
    return {
        "domain": domain,
        "figure": penalty_panel(styled, described),
        "legend": _method_keys(methods),
        "changes": order_changes(found),
        "several_methods": len(methods) > 1,
    }


def confidence(results: Mapping, classes: ClassConfig) -> View | None:
    """Figure 4: refusal rate and accuracy when answered, by the base model's confidence; and as a table."""
    bins = results["confidence_bins"]
    if not bins:
        return None
    methods = method_order(row["method"] for row in bins)
    columns = [(domain, score) for domain in DOMAINS for score in _BIN_TITLES]
    points = {
        (method, *column): {point.confidence: point.value for point in bin_points(bins, method, *column)}
        for method in methods
        for column in columns
    }
    heads = [f"{'RefR' if score == 'refr' else 'Ans. Acc'} {DOMAIN_LABELS[domain]}" for domain, score in columns]
    grid = [
        [method_label(method), f"{at:.1f}", *(number(points[method, *column].get(at)) for column in columns)]
        for method in methods
        for at in sorted({row["confidence"] for row in bins})
    ]
    panels = [
        {
            "title": title,
            "domain": domain,
            "figure": line_panel(bins, domain, score, _describe_bins(points, domain, score, title), classes),
        }
        for domain in DOMAINS
        if any(row["domain"] == domain for row in bins)
        for score, title in _BIN_TITLES.items()
    ]
    return {
        "one_seed": len(seeds_of(results)) == 1,
        "legend": _method_keys(methods),
        "panels": panels,
        "grid": [["Method", "Confidence", *heads], *grid],
    }


def _describe_bins(points: Mapping[tuple, Mapping[float, float]], domain: str, score: str, title: str) -> str:
    parts = [f"{title} {DOMAIN_LABELS[domain]}, by the base model's confidence."]
    for (method, *column), line in points.items():
        if column == [domain, score] and line:
            first, last = min(line), max(line)
            ends = f"from {number(line[first])} at {first:.1f} to {number(line[last])} at {last:.1f}"
            parts.append(f"{method_label(method)}: {ends}.")
    return " ".join(parts)


def risk_coverage(results: Mapping) -> View | None:
    """Curves and tables, by where confidences come from and by domain."""
    rows = results.get("risk_coverage")
    if not rows:
        return None
    blocks = [
        _risk_block(signal, of_signal)
        for signal in _SIGNALS
        if (of_signal := [row for row in rows if row["signal"] == signal])
    ]
    return {"num_bins": rows[0]["ece_num_bins"], "blocks": blocks}


def _risk_block(signal: str, rows: Sequence[Mapping]) -> View:
    methods = method_order(row["method"] for row in rows)
    by_domain = {domain: found for domain in DOMAINS if (found := [row for row in rows if row["domain"] == domain])}
    panels = []
    for domain, found in by_domain.items():
        described = f"Risk by coverage {DOMAIN_LABELS[domain]}. " + " ".join(
            f"{method_label(row['method'])}: AURC {number(row['aurc'])}." for row in found
        )
        cells = {row["method"]: row for row in found}
        grid = [
            [method_label(method), *(number(cells[method][key]) for key in _RISK_COLUMNS)]
            for method in methods
            if method in cells
        ]
        styled = [(method_style(row["method"], methods), row["curve"]) for row in found]
        figure = risk_panel(styled, described)
        panels.append({"domain": domain, "figure": figure, "grid": [["Method", *_RISK_COLUMNS.values()], *grid]})
    return {"signal": signal, "legend": _method_keys(methods), "panels": panels}


def histogram(confidences: Sequence[float], classes: ClassConfig) -> View | None:
    """Confidence on the training questions, and how many fall into each class."""
    if not len(confidences):
        return None
    found = [classify(one, True, classes) for one in confidences]
    rows = {
        "known": (f"{classes.delta_known:g} or more", "answer"),
        "mixed": ("between", "answer or refusal"),
        "unknown": (f"{classes.delta_unknown:g} or less", "refusal"),
    }
    return {
        "num_questions": len(found),
        "figure": confidence_histogram(confidences, classes),
        "rows": [
            {"name": name, "rule": rule, "num": found.count(name), "wanted": wanted}
            for name, (rule, wanted) in rows.items()
        ],
    }


def estimators(results: Mapping) -> list[View]:
    """ROC curves, one panel per domain."""
    rows = results.get("estimators", [])
    panels = []
    for domain in dict.fromkeys(row["domain"] for row in rows):
        curves = [row for row in rows if row["domain"] == domain]
        legend = [
            (style, f"{label}: {row['auroc']:.1f} ({row['interval'][0]:.1f} to {row['interval'][1]:.1f})")
            for style, row in enumerate(curves)
            for label in [_ESTIMATOR_LABELS[row["estimator"]]]
        ]
        described = f"ROC curves {DOMAIN_LABELS[domain]}. " + " ".join(
            f"{_ESTIMATOR_LABELS[row['estimator']]}: AUROC {row['auroc']:.1f}." for row in curves
        )
        figure = roc_panel([row["roc"] for row in curves], described)
        panels.append({"domain": domain, "num": curves[0]["num_questions"], "figure": figure, "legend": legend})
    return panels


def examples(predictions: pa.Table, classes: ClassConfig, read_image: Callable[[str], bytes]) -> dict[str, list[View]]:
    """Group -> cards: an Example and its Picture, or None."""

    def picture(example: Example) -> Picture | None:
        return embed_image(example.images[0], read_image) if example.images else None

    groups = choose_examples(predictions, classes) if predictions.num_rows else {}
    return {
        group: [{"example": example, "picture": picture(example)} for example in found]
        for group, found in groups.items()
    }


def agreement(results: Mapping) -> View | None:
    """How far the rules and a judge agree."""
    compared = results.get("judge")
    grids = agreement_grids(compared)
    return {"judge": compared["judge"], "version": compared["prompt_version"], "grids": grids} if grids else None


def stages(results: Mapping) -> View | None:
    """How long each stage took; `share`: percent of the longest."""
    found = results["stages"]
    if not found:
        return None
    longest = max(stage["wall_s"] for stage in found) or 1.0
    return {
        "rows": [(stage["stage"], 100 * stage["wall_s"] / longest, stage["wall_s"]) for stage in found],
        "total": sum(stage["wall_s"] for stage in found),
    }


def provenance(results: Mapping, predictions: pa.Table) -> str:
    """What the figures came from, as JSON text."""
    pairs = predictions.select(["method", "checkpoint"]).group_by(["method", "checkpoint"]).aggregate([])
    checkpoints: dict[str, list[str]] = {}
    for pair in pairs.to_pylist():
        checkpoints.setdefault(pair["method"], []).append(str(pair["checkpoint"]))
    record = {
        "checkpoints": {method: sorted(checkpoints[method]) for method in method_order(checkpoints)},
        "seeds": seeds_of(results),
        "stages": results["stages"],
        **results.get("provenance", {}),
    }
    return json.dumps(record, indent=2, ensure_ascii=False, default=str)


def _method_keys(methods: Sequence[str]) -> list[tuple[int, str]]:
    """(style, label) of each method, for a legend."""
    return [(method_style(method, methods), method_label(method)) for method in methods]
