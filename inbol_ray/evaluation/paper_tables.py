"""The paper's tables 1 to 3 from our scores, beside its own figures and the difference.

scores of `benchmark_scores` -> tables as JSON objects

A figure of the paper stands beside ours only for a model that the configuration says is LLaVA-1.5 of that size.
Source: InBoL (arXiv 2412.11196) Sec. 4.
"""

from collections.abc import Mapping, Sequence

from inbol_ray.config.evaluation import EvaluationConfig
from inbol_ray.evaluation.metrics import method_order

Figures = tuple[float | None, float | None, float | None]
"""Acc, RefR and S_trust in percent; None where the paper does not give one."""

SCORES = ("acc", "refr", "s_trust")
IN_DOMAIN = ("vqav2", "scienceqa", "oven")
OUT_OF_DOMAIN = ("aokvqa", "gqa", "mmmu", "beyondvisqa", "mmbench")
EXTRINSIC = ("vizwiz", "vqav2_idk")
FILTERED = "vqav2_idk_filtered"
"""Beside the published column of `vqav2_idk`, which is of a filtered set as well: the paper does not give its filter,
so that neither is known to be the paper's set."""
PAPER_COUNTS = {"aokvqa": 1145, "mmmu": 900, "mmbench": 1164, "beyondvisqa": 400}
"""Questions that the paper's percentages imply; VizWiz and VQAv2-IDK do not pin a number."""

_METHODS = ("original", "refusal_prompt", "sft", "idk_it", "ca_dpo")

_PUBLISHED_IN_DOMAIN = """
7b  46.10//-6.50 41.70//-4.10 49.10//8.90  38.60//16.00 49.10/30.30/28.50
13b 51.00//4.10  48.20//10.80 53.60//17.30 41.80//21.20 49.00/34.00/32.00
"""
_PUBLISHED_UNANSWERABLE = """
7b  /12/ /47/ /81/ /92/ /87/
13b /20/ /62/ /78/ /89/ /93/
"""
"""The table's further column, which is very probably the refusal rate on the unanswerable tenth of the test."""
_PUBLISHED_OUT_OF_DOMAIN = """
7b  original       78.56/0.00/57.13  59.65/0.00/19.30  34.70/0.00/-30.60  /25.50/ 62.80/0.00/25.60
7b  refusal_prompt 56.77/26.20/39.74 58.65/3.43/20.74  32.22/12.89/-22.67 /27.50/ 59.36/0.69/19.42
7b  sft            74.32/3.49/52.14  59.39/2.77/21.55  34.20/1.67/-29.93  /56.00/ 63.32/0.26/26.89
7b  idk_it         55.50/36.24/47.24 50.46/23.88/24.81 15.22/69.67/0.11   /75.25/ 46.39/39.09/31.87
7b  ca_dpo         72.23/17.64/62.10 60.41/12.95/33.77 19.67/56.67/-4.00  /67.75/ 58.42/18.13/34.97
13b original       78.95/0.00/57.90  61.81/0.00/23.63  36.22/0.00/-27.56  /33.50/ 67.96/0.00/35.91
13b refusal_prompt 63.32/18.95/45.59 61.36/1.96/24.69  27.78/19.56/-24.89 /46.00/ 64.69/0.26/29.64
13b sft            77.82/2.62/58.25  61.32/1.69/24.33  38.22/1.78/-21.78  /68.75/ 67.01/0.00/34.02
13b idk_it         63.93/23.06/50.92 52.27/19.22/23.77 14.22/74.33/2.78   /79.50/ 55.84/23.91/35.60
13b ca_dpo         73.89/15.63/63.41 59.70/13.82/33.22 25.89/41.78/-6.44  /72.50/ 62.63/14.69/39.95
"""
_PUBLISHED_EXTRINSIC = """
7b  original /9.00/  /2.80/
7b  idk_it   /76.01/ /81.42/
7b  ca_dpo   /69.97/ /70.63/
13b original /9.60/  /2.60/
13b idk_it   /78.61/ /80.14/
13b ca_dpo   /73.27/ /72.40/
"""
"""Acc/RefR/S_trust, one column per benchmark."""


def _figures(cell: str) -> Figures:
    acc, refr, s_trust = (float(text) if text else None for text in cell.split("/"))
    return acc, refr, s_trust


def _read_published(text: str, columns: Sequence[str]) -> dict[tuple[str, str], dict[str, Figures]]:
    lines = [line.split() for line in text.strip().splitlines()]
    return {(size, method): dict(zip(columns, map(_figures, cells), strict=True)) for size, method, *cells in lines}


def _read_by_method(text: str) -> dict[tuple[str, str], Figures]:
    lines = [line.split() for line in text.strip().splitlines()]
    return {
        (size, method): _figures(cell) for size, *cells in lines for method, cell in zip(_METHODS, cells, strict=True)
    }


IN_DOMAIN_AVERAGE = "average"
IN_DOMAIN_TEST = "test"
IN_DOMAIN_UNANSWERABLE = "test, unanswerable"
IN_DOMAIN_COLUMNS = (IN_DOMAIN_AVERAGE, IN_DOMAIN_TEST, IN_DOMAIN_UNANSWERABLE)
PUBLISHED_IN_DOMAIN = {
    row: dict(zip(IN_DOMAIN_COLUMNS, (figures, figures, _read_by_method(_PUBLISHED_UNANSWERABLE)[row]), strict=True))
    for row, figures in _read_by_method(_PUBLISHED_IN_DOMAIN).items()
}
PUBLISHED_OUT_OF_DOMAIN = _read_published(_PUBLISHED_OUT_OF_DOMAIN, OUT_OF_DOMAIN)
PUBLISHED_EXTRINSIC = _read_published(_PUBLISHED_EXTRINSIC, EXTRINSIC)


def build_tables(
    scores: Sequence[Mapping], evaluation: EvaluationConfig, in_domain_test: Sequence[Mapping] = ()
) -> list[dict]:
    """Tables 1 to 3 over the benchmarks that were run: `title`, `notes` and `rows`, each with `method`, `published_as`
    (size and method, or None) and `cells` by column with `ours`, `published` and `difference` (Acc, RefR, S_trust) and
    `num_questions`. Scores of several seeds are averaged. `in_domain_test` (`score_in_domain_test`) adds two columns to
    table 1.
    """
    by_method: dict[str, dict[str, list[Mapping]]] = {}
    for row in scores:
        by_method.setdefault(row["method"], {}).setdefault(row["benchmark"], []).append(row)
    for row in in_domain_test:
        by_method.setdefault(row["method"], {}).setdefault(IN_DOMAIN_TEST, []).append(row)
    plans = (
        ("In-domain average over VQAv2, ScienceQA and OVEN", _in_domain_cell, PUBLISHED_IN_DOMAIN, IN_DOMAIN_COLUMNS),
        ("Out-of-domain", _benchmark_cell, PUBLISHED_OUT_OF_DOMAIN, OUT_OF_DOMAIN),
        (
            "Extrinsic awareness: refusals of unanswerable questions",
            _unanswerable_cell,
            PUBLISHED_EXTRINSIC,
            (*EXTRINSIC, FILTERED),
        ),
    )
    tables = []
    for number, (title, make_cell, published, columns) in enumerate(plans, start=1):
        rows = []
        for method in method_order(by_method):
            paper_row = _paper_row(method, evaluation)
            figures = dict(published.get(paper_row, {})) if paper_row else {}
            figures[FILTERED] = figures.get("vqav2_idk")
            found = {column: make_cell(by_method[method], column) for column in columns}
            cells = {column: _compare(*cell, figures.get(column)) for column, cell in found.items() if cell is not None}
            if cells:
                rows.append({"method": method, "published_as": list(paper_row) if paper_row else None, "cells": cells})
        tables.append({"table": number, "title": title, "rows": rows, "notes": []})
    tables[0]["notes"] = [_describe_test(in_domain_test[0])] if in_domain_test else []
    return tables


def _paper_row(method: str, evaluation: EvaluationConfig) -> tuple[str, str] | None:
    """(size, method) of the paper's row that a method is to be compared with."""
    if outside := evaluation.models.get(method):
        return (outside.size, outside.method) if outside.size else None
    return (evaluation.size, method) if evaluation.size and method in _METHODS else None


Cell = tuple[Figures, int, bool]
"""Our figures, the number of questions, and whether they are of the paper's own set of benchmarks."""


def _average_cell(found: Mapping[str, list[Mapping]], _column: str) -> Cell | None:
    rows = [row for benchmark in IN_DOMAIN for row in found.get(benchmark, ())]
    if not rows:
        return None
    complete = all(benchmark in found for benchmark in IN_DOMAIN)
    means = [_mean([_mean([row[name] for row in found[b]]) for b in IN_DOMAIN if b in found]) for name in SCORES]
    return tuple(means), sum(row["num_questions"] for row in rows), complete


def _in_domain_cell(found: Mapping[str, list[Mapping]], column: str) -> Cell | None:
    if column == IN_DOMAIN_AVERAGE:
        return _average_cell(found, column)
    rows = found.get(IN_DOMAIN_TEST)
    if not rows:
        return None
    complete = set(rows[0]["answerable_benchmarks"]) == set(IN_DOMAIN) and rows[0]["unanswerable"]["num_questions"] > 0
    if column == IN_DOMAIN_TEST:
        return tuple(_mean([row[name] for row in rows]) for name in SCORES), rows[0]["num_questions"], complete
    unanswerable = [row["unanswerable"] for row in rows if row["unanswerable"]["num_questions"]]
    if not unanswerable:
        return None
    figures = (None, _mean([row["refr"] for row in unanswerable]), None)
    return figures, unanswerable[0]["num_questions"], complete


def _describe_test(row: Mapping) -> str:
    """What the in-domain test holds, as a sentence."""
    parts = []
    for part in ("answerable", "unanswerable"):
        counts = ", ".join(f"{name} {count:,}" for name, count in row[f"{part}_benchmarks"].items())
        parts.append(f"{row[part]['num_questions']:,} {part}" + (f" ({counts})" if counts else ""))
    return f"{IN_DOMAIN_TEST}: {row['num_questions']:,} in-domain questions drawn by a hash of their ids: {' and '.join(parts)}."


def _benchmark_cell(found: Mapping[str, list[Mapping]], column: str) -> Cell | None:
    rows = found.get(column)
    if not rows:
        return None
    acc, refr, s_trust = (_mean([row[name] for row in rows]) for name in SCORES)
    # On BeyondVisQA to refuse is right, so that Acc and S_trust have no meaning.
    figures = (None, refr, None) if column == "beyondvisqa" else (acc, refr, s_trust)
    return figures, rows[0]["num_questions"], True


def _unanswerable_cell(found: Mapping[str, list[Mapping]], column: str) -> Cell | None:
    rows = [row["unanswerable"] for row in found.get(column, ()) if row["unanswerable"]["num_questions"]]
    if not rows:
        return None
    return (None, _mean([row["refr"] for row in rows]), None), rows[0]["num_questions"], True


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _compare(ours: Figures, num_questions: int, comparable: bool, published: Figures | None) -> dict:
    paper = published if published and comparable else (None, None, None)
    return {
        "num_questions": num_questions,
        "ours": dict(zip(SCORES, ours, strict=True)),
        "published": dict(zip(SCORES, paper, strict=True)),
        "difference": {
            name: None if one is None or other is None else one - other
            for name, one, other in zip(SCORES, ours, paper, strict=True)
        },
    }
