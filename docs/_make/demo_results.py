"""A run's results.json -> the result table and its chart, as README and docs show them.

usage: python docs/_make/demo_results.py [build/demo/results.json]

With a file, its figures are written to docs/results/demo.json first. The chart is drawn from there to
docs/img/demo_results.svg, and the table is printed.
"""

import json
import sys
from pathlib import Path

DOCS = Path(__file__).parents[1]
FIGURES, CHART = DOCS / "results/demo.json", DOCS / "img/demo_results.svg"
TITLES = {
    "original": "Original",
    "refusal_prompt": "Refusal prompt",
    "sft": "SFT",
    "idk_it": "IDK-IT",
    "idk_it_matched": "IDK-IT, matched compute",
    "ca_dpo": "CA-DPO",
}
DOMAINS = {"in_domain": "In-domain", "out_of_domain": "Out-of-domain"}
COLUMNS = ("acc", "refr", "s_trust")

WIDTH, LEFT, PANEL, GAP, TOP, ROW, BAR = 860, 190, 300, 40, 64, 34, 16
LOW, HIGH = -25, 30
"""Range of S_trust that a panel shows, in percent."""
STYLE = """
.card { fill: #ffffff; stroke: #c9ced6 } .text { fill: #1f2430 } .faint { fill: #5a6270 }
.axis { stroke: #8a92a0 } .bar { fill: #3f6fb5 } .below { fill: #c2703d } .whisker { stroke: #1f2430 }
@media (prefers-color-scheme: dark) {
  .card { fill: #1c2028; stroke: #3a414d } .text { fill: #e6e9ef } .faint { fill: #a3abb8 }
  .axis { stroke: #6f7785 } .bar { fill: #6f9fe0 } .below { fill: #e0935f } .whisker { stroke: #e6e9ef }
}
text { font: 13px system-ui, sans-serif }
"""


def extract(results: dict) -> dict:
    """The figures that are shown: rates in percent with their 95% intervals, by method and domain."""
    kept = ("method", "domain", "num_questions", *COLUMNS, *(f"{name}_interval" for name in COLUMNS))
    rows = [
        {key: [round(x, 2) for x in row[key]] if isinstance(row[key], list) else row[key] for key in kept}
        for row in results["results"]
    ]
    pairs = [
        {
            **{key: pair[key] for key in ("method", "baseline", "domain", "metric")},
            "difference": round(pair["difference"], 2),
            "interval": [round(x, 2) for x in pair["interval"]],
        }
        for pair in results["comparisons"]
        if pair["metric"] in COLUMNS
    ]
    commit = results["provenance"]["git_commit"]
    return {"seed": results["results"][0]["seed"], "git_commit": commit, "rows": rows, "paired_differences": pairs}


def render_table(figures: dict) -> str:
    """Markdown, one line per method."""
    names = ("Acc", "RefR", "S_trust")
    lines = ["| | " + " | ".join(f"{domain.lower()} {name}" for domain in DOMAINS.values() for name in names) + " |"]
    lines.append("|---|" + "---|" * 6)
    for method, title in TITLES.items():
        rows = [_row(figures, method, domain) for domain in DOMAINS]
        lines.append(f"| {title} | " + " | ".join(f"{row[name]:.1f}" for row in rows for name in COLUMNS) + " |")
    return "\n".join(lines)


def render_chart(figures: dict) -> str:
    """S_trust of each method with its interval, one panel per domain, as SVG that is legible on light and dark."""
    height = TOP + ROW * len(TITLES) + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'aria-label="S_trust of each method on the demo, in-domain and out-of-domain">',
        f"<style>{STYLE}</style>",
        f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>',
    ]
    for index, title in enumerate(TITLES.values()):
        parts.append(_text(LEFT - 14, _middle(index) + 4, title, "text", "end"))
    for panel, (domain, title) in enumerate(DOMAINS.items()):
        left = LEFT + panel * (PANEL + GAP)
        zero = left + _x(0)
        parts.append(_text(left + PANEL / 2, 28, f"{title}: S_trust in percent, 95% interval", "text", "middle"))
        parts.append(f'<line class="axis" x1="{zero:.1f}" x2="{zero:.1f}" y1="{TOP - 14}" y2="{height - 34}"/>')
        for tick in range(-20, HIGH + 1, 10):
            parts.append(_text(left + _x(tick), height - 16, f"{tick:g}", "faint", "middle"))
        for index, method in enumerate(TITLES):
            row = _row(figures, method, domain)
            value, (low, high), y = row["s_trust"], row["s_trust_interval"], _middle(index)
            start, end = sorted((zero, left + _x(value)))
            kind = "bar" if value >= 0 else "below"
            parts.append(
                f'<rect class="{kind}" x="{start:.1f}" y="{y - BAR / 2}" width="{end - start:.1f}" height="{BAR}"/>'
            )
            parts.append(
                f'<line class="whisker" x1="{left + _x(low):.1f}" x2="{left + _x(high):.1f}" y1="{y}" y2="{y}"/>'
            )
            parts.append(_text(left + _x(max(high, 0)) + 8, y + 4, f"{value:.1f}", "text", "start"))
    return "\n".join([*parts, "</svg>", ""])


def _row(figures: dict, method: str, domain: str) -> dict:
    return next(row for row in figures["rows"] if (row["method"], row["domain"]) == (method, domain))


def _x(value: float) -> float:
    return PANEL * (value - LOW) / (HIGH - LOW)


def _middle(index: int) -> float:
    return TOP + ROW * index + ROW / 2 - 8


def _text(x: float, y: float, text: str, kind: str, anchor: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'


def main() -> None:
    if len(sys.argv) > 1:
        FIGURES.write_text(json.dumps(extract(json.loads(Path(sys.argv[1]).read_text())), indent=1) + "\n")
    figures = json.loads(FIGURES.read_text())
    CHART.write_text(render_chart(figures))
    print(render_table(figures))


if __name__ == "__main__":
    main()
