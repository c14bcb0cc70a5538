"""A Comparison for readers: plain text for the terminal, Markdown, and `comparison.json`. Differences in points."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from inbol_ray.evaluation.compare import Comparison
from inbol_ray.evaluation.paired import POWER, Difference
from inbol_ray.report.wording import SCORE_HEADS, number, span
from inbol_ray.text_table import ascii_text, markdown_table, text_table

JSON_FILE, MARKDOWN_FILE = "comparison.json", "comparison.md"
_SURE = 0.05
_WIDTHS = {"question": 44, "gold": 18, "reply": 34}
"""Characters that the terminal shows of a cell."""
_MARKDOWN_WIDTH = 300


def render_comparison(comparison: Comparison, markdown: bool = False) -> str:
    """The whole comparison as text."""
    title = f"a = {comparison.a}, b = {comparison.b}: a minus b, in points"
    blocks = [f"# {_safe(title)}" if markdown else title]
    blocks.append(_table(_difference_grid(comparison.differences), markdown))
    blocks.append("\n".join(f"- {line}" if markdown else line for line in describe(comparison)))
    for side, num, examples in (
        ("a", comparison.num_a_better, comparison.a_better),
        ("b", comparison.num_b_better, comparison.b_better),
    ):
        head = f"{num:,} questions on which {side} is better" + (
            ", the first by a hash of their id" if examples else ""
        )
        blocks.append(f"## {head}" if markdown else head)
        if examples:
            blocks.append(_table(_example_grid(examples, markdown), markdown))
    text = "\n\n".join(blocks) + "\n"
    return text if markdown else ascii_text(text)


def describe(comparison: Comparison) -> list[str]:
    """What the table says, how it was corrected, and what was left out: one sentence each."""
    lines = [_verdict(comparison)]
    if comparison.critical_value is not None:
        lines.append(
            f"{comparison.num_comparisons} comparisons: p-values are Holm's, intervals hold together with 95% "
            f"(+- {comparison.critical_value:.2f} standard errors), questions that share an image count as one draw."
        )
        lines.append(
            f"Detectable: the smallest difference that these questions show with {100 * POWER:.0f}% power at this corrected level."
        )
    for side, counts in (("a", comparison.num_only_a), ("b", comparison.num_only_b)):
        if counts:
            lines.append(f"{sum(counts.values()):,} questions that only {side} has are left out ({_counts(counts)}).")
    if changed := comparison.num_changed:
        lines.append(
            f"{sum(changed.values()):,} questions whose wording or reference differs are left out ({_counts(changed)})."
        )
    return lines


def write_comparison(comparison: Comparison, out_dir: Path) -> None:
    """Write `comparison.json` and `comparison.md`."""
    content = json.dumps(comparison.to_dict(), indent=1, allow_nan=False, ensure_ascii=False)
    (out_dir / JSON_FILE).write_text(content + "\n", encoding="utf-8")
    (out_dir / MARKDOWN_FILE).write_text(render_comparison(comparison, markdown=True), encoding="utf-8")


def _verdict(comparison: Comparison) -> str:
    sure = [one for one in comparison.differences if one.p_holm is not None and one.p_holm < _SURE]
    if not sure:
        return "No difference is shown: every corrected p-value is at least 0.05, which does not show that a and b are equal."
    parts = [f"{SCORE_HEADS[one.metric]} {number(one.difference, True)} on {one.benchmark or 'all'}" for one in sure]
    return f"Shown (corrected p below 0.05): {', '.join(parts)}."


def _difference_grid(differences: Sequence[Difference]) -> list[list[str]]:
    grid = [["benchmark", "score", "a", "b", "a - b", "interval", "p (Holm)", "detectable", "questions", "clusters"]]
    for one in differences:
        grid.append(
            [
                one.benchmark or "all",
                SCORE_HEADS[one.metric],
                number(one.a),
                number(one.b),
                number(one.difference, True),
                span(one.interval, True) or number(None),
                number(None) if one.p_holm is None else f"{one.p_holm:.3f}" if one.p_holm >= 0.001 else "<0.001",
                number(one.smallest_detectable),
                f"{one.num_questions:,}",
                f"{one.num_clusters:,}",
            ]
        )
    return grid


def _example_grid(examples: Sequence[dict], markdown: bool) -> list[list[str]]:
    def clip(text: str, kind: str) -> str:
        width = _MARKDOWN_WIDTH if markdown else _WIDTHS[kind]
        text = _one_line(text)
        return text if len(text) <= width else text[: width - 3] + "..."

    grid = [["id", "question", "gold", "a", "a's reply", "b", "b's reply"]]
    for one in examples:
        gold = ", ".join(one["gold_answers"] or []) or "none"
        replies = [(one[f"{side}_outcome"], clip(one[f"{side}_reply"] or "", "reply")) for side in "ab"]
        grid.append([one["id"], clip(one["question"], "question"), clip(gold, "gold"), *replies[0], *replies[1]])
    return grid


def _table(grid: list[list[str]], markdown: bool) -> str:
    rows = [[_one_line(cell) for cell in row] for row in grid]
    if markdown:
        return markdown_table(rows, left=(0, 1))
    return text_table(rows, left=range(len(rows[0])) if rows[0][0] == "id" else (0,))


def _one_line(text: str) -> str:
    """Data may hold line breaks and terminal codes."""
    return re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", text).strip()


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _safe(text: str) -> str:
    return _one_line(text).replace("<", "&lt;")
