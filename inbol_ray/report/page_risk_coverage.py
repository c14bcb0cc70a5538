"""The report's section on risk and coverage: `risk_coverage` of `results.json` -> HTML. Percent throughout."""

from collections.abc import Mapping, Sequence

from inbol_ray.evaluation.metrics import DOMAINS, method_order
from inbol_ray.method.risk_coverage import RISKS
from inbol_ray.report.plots import legend_mark, method_style
from inbol_ray.report.wording import DOMAIN_LABELS, escape, method_label, number

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 460, 272, 40, 10, 10, 44


_NOTES = {
    "first_token": "Every method answers every question; the answers are kept from the most confident on, by "
    "1 \u2212 P(refusal) at the first token. Coverage is the share kept, risk the error rate among them.",
    "reported": "The answers that came with a confidence (what a file of replies says, or the length-normalised "
    "probability of an endpoint\u2019s reply), refusals left out, kept from the most confident on. Coverage is the share of "
    "these answers that is kept, risk the error rate among them.",
}
_COLUMNS = {
    "aurc": "AURC",
    **{f"coverage_at_{100 * risk:g}": f"Cov. at {100 * risk:g}%" for risk in RISKS},
    "ece_equal_width": "ECE, equal width",
    "ece_equal_mass": "ECE, equal mass",
}


def render_risk_coverage(rows: Sequence[Mapping]) -> str:
    """Curves and tables, by where confidences come from and by domain; empty without rows."""
    if not rows:
        return ""
    blocks = "".join(
        _block([row for row in rows if row["signal"] == signal], note)
        for signal, note in _NOTES.items()
        if any(row["signal"] == signal for row in rows)
    )
    return (
        "<section><h2>How much can it answer at which risk?</h2><p class='note'>AURC is the mean risk over all coverages, "
        "lower is better; Cov. is the coverage at a risk. ECE is the expected calibration error: how far confidences are "
        f"from the share of right answers, on average, in {rows[0]['ece_num_bins']} bins of equal width or of equal "
        f"mass.</p>{blocks}</section>"
    )


def _block(rows: Sequence[Mapping], note: str) -> str:
    """The curves of one kind of confidence."""
    methods = method_order(row["method"] for row in rows)
    legend = "".join(f"<li>{legend_mark(method_style(m, methods))}{escape(method_label(m))}</li>" for m in methods)
    domains = [domain for domain in DOMAINS if any(row["domain"] == domain for row in rows)]
    panels = "".join(
        f'<div class="panel"><h3>Error rate among answers <span>{DOMAIN_LABELS[domain]}</span></h3>'
        f"{_panel([row for row in rows if row['domain'] == domain], domain, methods)}{_table(rows, methods, domain)}</div>"
        for domain in domains
    )
    return (
        f'<p class=\'note\'>{note}</p><ul class="keys" style="margin:0 0 1.2rem">{legend}</ul>'
        f'<div class="pair">{panels}</div>'
    )


def _panel(rows: Sequence[Mapping], domain: str, methods: Sequence[str]) -> str:
    described = f"Risk by coverage {DOMAIN_LABELS[domain]}. " + " ".join(
        f"{method_label(row['method'])}: AURC {number(row['aurc'])}." for row in rows
    )
    lines = "".join(
        f'<g class="m{method_style(row["method"], methods)}"><path class="line" d="M'
        + "L".join(f"{_x(coverage):.1f} {_y(risk):.1f}" for coverage, risk in row["curve"])
        + '"/></g>'
        for row in rows
    )
    base = _HEIGHT - _BOTTOM
    grid = "".join(
        f'<path class="{"axis" if tick == 0 else "grid"}" d="M{_LEFT} {_y(tick):.1f}H{_WIDTH - _RIGHT}"/>'
        f'<text class="y" x="{_LEFT - 7}" y="{_y(tick) + 4:.1f}">{tick}</text>'
        f'<text class="x" x="{_x(tick):.1f}" y="{base + 17}">{tick}</text>'
        for tick in (0, 25, 50, 75, 100)
    )
    title = f'<text class="x title" x="{(_LEFT + _WIDTH - _RIGHT) / 2:.1f}" y="{_HEIGHT - 8}">Coverage, %</text>'
    return (
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(described)}">'
        f"{grid}{lines}{title}</svg>"
    )


def _table(rows: Sequence[Mapping], methods: Sequence[str], domain: str) -> str:
    cells = {row["method"]: row for row in rows if row["domain"] == domain}
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Method", *_COLUMNS.values()))
    body = "".join(
        f'<tr><th scope="row">{escape(method_label(method))}</th>'
        + "".join(f"<td>{number(cells[method][key])}</td>" for key in _COLUMNS)
        + "</tr>"
        for method in methods
        if method in cells
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _x(coverage: float) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * coverage / 100


def _y(risk: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * risk / 100
