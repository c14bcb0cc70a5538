"""What endpoints were asked, as tables: rows of `usage.json` -> Markdown, and a section of the page."""

from collections.abc import Mapping, Sequence

from inbol_ray.report.wording import escape

_COLUMNS = {
    "requests": "Requests",
    "rejected": "Rejected",
    "input_tokens": "Input tokens",
    "output_tokens": "Output tokens",
    "untold": "Without token numbers",
    "cut_off": "Cut off",
    "told_refusals": "Refusals told by the server",
}


def _cells(row: Mapping) -> list[str]:
    cost = "\N{EN DASH}" if row["cost"] is None else f"{row['cost']:,.4f}"
    return [*(f"{row[key]:,}" for key in _COLUMNS), cost]


def render_usage(usage: Sequence[Mapping]) -> str:
    """A Markdown table; empty without rows."""
    if not usage:
        return ""
    heads = ["model", *_COLUMNS.values(), "Cost"]
    lines = ["## Endpoints", "", f"| {' | '.join(heads)} |", f"| --- |{' ---: |' * (len(heads) - 1)}"]
    for row in usage:
        name = row["model"].replace("|", "\\|")
        lines.append(f"| {name} | {' | '.join(_cells(row))} |")
    return "\n".join([*lines, ""])


def render_usage_section(usage: Sequence[Mapping]) -> str:
    """The report page's section; empty without rows."""
    if not usage:
        return ""
    heads = "".join(f'<th scope="col">{head}</th>' for head in ("Model", *_COLUMNS.values(), "Cost"))
    rows = "".join(
        f'<tr><th scope="row">{escape(row["model"])}</th>'
        + "".join(f"<td>{cell}</td>" for cell in _cells(row))
        + "</tr>"
        for row in usage
    )
    return (
        "<section><h2>What endpoints were asked</h2><p class='note'>Tokens as their servers told them of the replies "
        'above. Tries that failed are not in it.</p><div class="scroll"><table><thead><tr>'
        f"{heads}</tr></thead><tbody>{rows}</tbody></table></div></section>"
    )
