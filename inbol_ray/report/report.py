"""The report's files: `results.json`, `predictions.parquet`, `report.html`; `seeds.json`, `seeds.md`; terminal tables.

PREDICTION rows and the content of `results.json` (`inbol_ray.evaluation.metrics`) -> files under a folder.
Percent throughout; times in seconds.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from inbol_ray.config.sampling import ClassConfig
from inbol_ray.evaluation.metrics import DOMAINS, SCORES
from inbol_ray.images import read_image_bytes
from inbol_ray.report.wording import (
    DOMAIN_LABELS,
    SCORE_HEADS,
    duration,
    headline,
    method_label,
    number,
    seeds_of,
    span,
)
from inbol_ray.text_table import ascii_text, markdown_table, text_table

_PARTS = (("", "all questions"), ("answerable", "answerable questions"), ("unanswerable", "unanswerable questions"))


def render_terminal_table(results: Mapping) -> str:
    """Results as aligned plain text: methods by Acc, RefR, S_trust with +- half its 95% interval, Ans.Acc (percent)."""
    seeds = seeds_of(results)
    domains = [domain for domain in DOMAINS if any(row["domain"] == domain for row in results["results"])]
    cells = {(row["method"], row["seed"], row["domain"]): row for row in results["results"]}
    rows = list(dict.fromkeys((method, seed) for method, seed, _ in cells))
    heads = ["Acc", "RefR", "S_trust", "+-", "Ans.Acc"]
    blocks = []
    for part, title in _PARTS:
        grid = [[title, *(head for _ in domains for head in heads)]]
        for method, seed in rows:
            label = method_label(method) + (f", seed {seed}" if len(seeds) > 1 else "")
            grid.append([label])
            for domain in domains:
                row = cells.get((method, seed, domain), {})
                grid[-1] += _terminal_cells(row.get(part, {}) if part else row)
        blocks.append(text_table(grid, groups=[DOMAIN_LABELS[domain] for domain in domains]))
    if results["stages"]:
        blocks.append(_stage_table(results["stages"]))
    blocks.append("\n".join(filter(None, headline(results))))
    return ascii_text("\n\n".join(blocks)) + "\n"


def write_report(
    results: Mapping,
    predictions: pa.Table,
    confidences: Sequence[float],
    out_dir: Path,
    *,
    delta_known: float = ClassConfig().delta_known,
    delta_unknown: float = ClassConfig().delta_unknown,
    read_image: Callable[[str], bytes] = read_image_bytes,
) -> None:
    """Write `results.json`, `predictions.parquet` and the self-contained `report.html` into `out_dir`.

    `results` comes from `build_results` on these `predictions` (PREDICTION rows). `confidences` are the training
    questions' confidences in [0, 1], drawn as a histogram with the class thresholds delta_k and delta_uk; empty
    leaves the figure out. `read_image` turns an entry of `images` into the file's bytes: replace it for images that
    are not on a local disk. An image that cannot be read leaves a placeholder, never an error.
    """
    from inbol_ray.report.page import render_page  # needs Jinja2, which scores without a page do not

    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    classes = ClassConfig(delta_known=delta_known, delta_unknown=delta_unknown)
    page = render_page(results, predictions, confidences, classes, read_image)
    _write_json(results, out_dir / "results.json")
    pq.write_table(predictions, out_dir / "predictions.parquet", compression="zstd")
    (out_dir / "report.html").write_text(page, encoding="utf-8")


def render_seeds_table(summary: Mapping, markdown: bool = False) -> str:
    """`summarise_seeds` as text: every seed's scores, mean and 95% t-interval, then the paired differences."""
    seeds = [f"seed {seed}" for seed in summary["seeds"]]
    blocks = []
    for domain in [d for d in DOMAINS if any(row["domain"] == d for row in summary["methods"])]:
        scores = [["method", "score", *seeds, "mean", "95% interval"]]
        for row in [row for row in summary["methods"] if row["domain"] == domain]:
            scores += [[method_label(row["method"]), SCORE_HEADS[score], *_seed_cells(row[score])] for score in SCORES]
        blocks.append((f"Scores {DOMAIN_LABELS[domain]} (percent)", scores))
        gaps = [["difference", "score", *seeds, "mean", "95% interval"]]
        for row in [row for row in summary["differences"] if row["domain"] == domain]:
            label = f"{method_label(row['method'])} - {method_label(row['baseline'])}"
            gaps.append([label, SCORE_HEADS[row["metric"]], *_seed_cells(row, signed=True)])
        if len(gaps) > 1:
            blocks.append((f"Paired differences {DOMAIN_LABELS[domain]} (points, same seed)", gaps))
    if markdown:
        return "\n".join(f"## {title}\n\n{markdown_table(grid, left=(0, 1))}\n" for title, grid in blocks)
    return ascii_text("\n".join(f"{title}\n{text_table(_thin(grid))}\n" for title, grid in blocks))


def write_seeds_report(summary: Mapping, out_dir: Path) -> str:
    """Write `seeds.json` and `seeds.md` into `out_dir`, print and return the terminal table."""
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    _write_json(summary, out_dir / "seeds.json")
    (out_dir / "seeds.md").write_text(render_seeds_table(summary, markdown=True), encoding="utf-8")
    table = render_seeds_table(summary)
    print(table)
    return table


def _write_json(content: Mapping, path: Path) -> None:
    path.write_text(json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")


def _terminal_cells(row: Mapping) -> list[str]:
    interval = row.get("s_trust_interval")
    half = f"{(interval[1] - interval[0]) / 2:.1f}" if interval else ""
    texts = {score: number(row.get(score)) for score in SCORES}
    return [texts["acc"], texts["refr"], texts["s_trust"], half, texts["answered_acc"]]


def _seed_cells(row: Mapping, signed: bool = False) -> list[str]:
    values = [number(value, signed) for value in row["values"]]
    return [*values, number(row["mean"], signed), span(row["interval"], signed) or "\N{EN DASH}"]


def _thin(grid: list[list[str]]) -> list[list[str]]:
    """Leave out a first cell that repeats the one above."""
    return [[("" if i and row[0] == grid[i - 1][0] else row[0]), *row[1:]] for i, row in enumerate(grid)]


def _stage_table(stages: Sequence[Mapping]) -> str:
    total = sum(stage["wall_s"] for stage in stages)
    rows = [[str(stage["stage"]), duration(stage["wall_s"])] for stage in stages]
    return text_table([["stage", "wall time"], *rows, ["total", duration(total)]])
