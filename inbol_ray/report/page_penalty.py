"""The page's section on the price of a wrong reply: S(lambda) of every method, and where two change places.

Content of `results.json` -> HTML; text from data is escaped. Several seeds are averaged.
"""

from collections.abc import Mapping

from inbol_ray.evaluation.metrics import DOMAINS
from inbol_ray.method.penalty import MAX_PENALTY, PENALTIES, order_changes, penalised_score
from inbol_ray.report.plots import legend_mark, method_style, penalty_panel
from inbol_ray.report.wording import DOMAIN_LABELS, escape, mean_scores, method_label, number, rich


def render_penalty(results: Mapping) -> str:
    """Curves by domain and a sentence for each change of order; empty without replies."""
    panels = "".join(_panel(mean_scores(results, domain), domain) for domain in DOMAINS)
    if not panels:
        return ""
    return (
        "<section><h2>What if a wrong reply costs more, or less?</h2><p class='note'>"
        + rich("S(\u03bb) = Acc \u2212 \u03bb \u00d7 wrong, in percent; S_trust is \u03bb = 1, the dashed line. ")
        + "With \u03bb, a reply is worth giving if it is right with a chance of more than \u03bb / (1 + \u03bb): a half at 1, "
        f'four fifths at {MAX_PENALTY:g}.</p><div class="pair">{panels}</div></section>'
    )


def _panel(scores: Mapping[str, Mapping[str, float]], domain: str) -> str:
    if not scores:
        return ""
    methods = list(scores)
    curves = {
        method: [(penalty, penalised_score(values["acc"], values["refr"], penalty)) for penalty in PENALTIES]
        for method, values in scores.items()
    }
    described = f"S by lambda {DOMAIN_LABELS[domain]}. " + " ".join(
        f"{method_label(method)}: from {number(curve[0][1])} at 0 to {number(curve[-1][1])} at {MAX_PENALTY:g}."
        for method, curve in curves.items()
    )
    drawn = [(method_style(method, methods), curve) for method, curve in curves.items()]
    legend = "".join(
        f"<li>{legend_mark(style)}{escape(method_label(method))}</li>"
        for method, (style, _) in zip(methods, drawn, strict=True)
    )
    sentences = "".join(f"<li>{rich(order_sentence(change))}</li>" for change in order_changes(scores))
    if not sentences and len(methods) > 1:
        sentences = f"<li>No two methods change places between \u03bb = 0 and {MAX_PENALTY:g}.</li>"
    return (
        f'<div class="panel"><h3>S(\u03bb) <span>{DOMAIN_LABELS[domain]}</span></h3>{penalty_panel(drawn, described)}'
        f'<ul class="keys">{legend}</ul><ul class="note">{sentences}</ul></div>'
    )


def order_sentence(change: Mapping) -> str:
    """`Below \u03bb = 0.61 SFT is ahead of IDK-IT, above it IDK-IT.`"""
    below, above = (method_label(change[key]) for key in ("ahead_below", "ahead_above"))
    return f"Below \u03bb = {change['penalty']:.2f} {below} is ahead of {above}, above it {above}."
