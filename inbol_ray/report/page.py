"""The report as one HTML page: no script, no external resource, readable without colour.

Content of `results.json` + PREDICTION rows + confidences -> HTML text. Every text that comes from data is untrusted
(questions, replies, names) and passes through `wording.escape`; the page's own policy forbids scripts and fetches.
"""

from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa

from inbol_ray.config.sampling import ClassConfig
from inbol_ray.evaluation.estimator_auroc import render_estimators
from inbol_ray.evaluation.metrics import DOMAINS, method_order
from inbol_ray.judging.agreement import render_agreement_section
from inbol_ray.method.classes import classify
from inbol_ray.report.gallery import Example, choose_examples, embed_image
from inbol_ray.report.page_penalty import render_penalty
from inbol_ray.report.page_risk_coverage import render_risk_coverage
from inbol_ray.report.page_run import render_provenance, render_stages
from inbol_ray.report.page_scores import render_differences, render_hero, render_scores
from inbol_ray.report.page_style import STYLE
from inbol_ray.report.page_usage import render_usage_section
from inbol_ray.report.plots import bin_points, confidence_histogram, legend_mark, line_panel, method_style
from inbol_ray.report.rule_scores import render_rules_section
from inbol_ray.report.wording import DOMAIN_LABELS, escape, headline, method_label, number, rich, seeds_of

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_OUTCOMES = {
    "correct": ("\u2713", "correct"),
    "wrong": ("\u2717", "wrong"),
    "refused": ("\u2013", "refused"),
    "error": ("!", "no reply (error)"),
}
_GROUP_TITLES = {
    "known": ("Known", "the original model mostly answers these correctly"),
    "mixed": ("Mixed", "it answers these correctly now and then"),
    "unknown": ("Unknown", "it rarely or never answers these correctly: beyond the intrinsic boundary"),
    "unanswerable": ("Unanswerable", "the image does not hold the answer: beyond the extrinsic boundary"),
    "answerable": ("Answerable", "the original model\u2019s confidence was not sampled"),
}
_MAX_TEXT = 400


def render_page(
    results: Mapping,
    predictions: pa.Table,
    confidences: Sequence[float],
    classes: ClassConfig,
    read_image: Callable[[str], bytes],
) -> str:
    """The page. The arguments are those of `report.write_report`."""
    sentence, evidence = headline(results)
    groups = choose_examples(predictions, classes) if predictions.num_rows else {}
    title = f"{results['name']}: {sentence}" if results["name"] else sentence
    body = [
        f'<header><p class="kicker">{_kicker(results)}</p><h1>{rich(sentence)}</h1>',
        f'<p class="evidence">{rich(evidence)}</p>' if evidence else "",
        render_hero(results),
        "</header>",
        render_scores(results),
        render_rules_section(results.get("rules", [])),
        render_differences(results),
        render_penalty(results),
        _confidence_section(results, classes),
        render_risk_coverage(results.get("risk_coverage", [])),
        _histogram_section(confidences, classes),
        render_estimators(results.get("estimators", [])),
        _gallery_section(groups, read_image),
        render_agreement_section(results.get("judge")),
        render_usage_section(results.get("endpoints", [])),
        render_stages(results["stages"]),
        render_provenance(results, predictions),
    ]
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style></head>\n<body><main>\n" + "\n".join(filter(None, body)) + "\n</main></body></html>\n"
    )


def _kicker(results: Mapping) -> str:
    seeds = seeds_of(results)
    words = [escape(results["name"])] if results["name"] else []
    words.append("teaching LLaVA to refuse with InBoL")
    words.append(f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}" if seeds else "")
    return " \u00b7 ".join(filter(None, words))


def _confidence_section(results: Mapping, classes: ClassConfig) -> str:
    bins = results["confidence_bins"]
    if not bins:
        return ""
    methods = method_order(row["method"] for row in bins)
    titles = {"refr": "Refusal rate", "answered_acc": "Accuracy when answered"}
    panels = "".join(
        f'<div class="panel"><h3>{title} <span>{DOMAIN_LABELS[domain]}</span></h3>'
        + line_panel(bins, domain, score, title, classes)
        + "</div>"
        for domain in DOMAINS
        if any(row["domain"] == domain for row in bins)
        for score, title in titles.items()
    )
    legend = "".join(
        f"<li>{legend_mark(method_style(method, methods))}{escape(method_label(method))}</li>" for method in methods
    )
    whiskers = "Whiskers are 95% intervals." if len(seeds_of(results)) == 1 else "Seeds are pooled."
    return (
        "<section><h2>Does it refuse what the model does not know?</h2><p class='note'>Answerable questions, by how "
        "often the original model\u2019s sampled answers to them are correct. A model that knows its boundary refuses "
        f"on the left and answers on the right. {whiskers}</p><ul class='keys' style='margin:0 0 1.2rem'>{legend}</ul>"
        f'<div class="pair">{panels}</div><details><summary>The same as a table</summary>'
        f"{_bins_table(bins, methods)}</details></section>"
    )


def _bins_table(bins: Sequence[Mapping], methods: Sequence[str]) -> str:
    columns = [(domain, score) for domain in DOMAINS for score in ("refr", "answered_acc")]
    points = {
        (method, *column): {p.confidence: p.value for p in bin_points(bins, method, *column)}
        for method in methods
        for column in columns
    }
    head = "".join(
        f'<th scope="col">{"RefR" if score == "refr" else "Ans. Acc"} {DOMAIN_LABELS[domain]}</th>'
        for domain, score in columns
    )
    body = "".join(
        f'<tr><th scope="row">{escape(method_label(method))}</th><td>{confidence:.1f}</td>'
        + "".join(f"<td>{number(points[method, *column].get(confidence))}</td>" for column in columns)
        + "</tr>"
        for method in methods
        for confidence in sorted({row["confidence"] for row in bins})
    )
    return (
        f'<div class="scroll"><table><thead><tr><th scope="col">Method</th><th scope="col">Confidence</th>{head}</tr>'
        f"</thead><tbody>{body}</tbody></table></div>"
    )


def _histogram_section(confidences: Sequence[float], classes: ClassConfig) -> str:
    if not len(confidences):
        return ""
    found = [classify(confidence, True, classes) for confidence in confidences]
    rules = {
        "known": (f"{classes.delta_known:g} or more", "answer"),
        "mixed": ("between", "answer or refusal"),
        "unknown": (f"{classes.delta_unknown:g} or less", "refusal"),
    }
    rows = "".join(
        f'<tr><th scope="row"><span class="swatch s-{name}"></span>{name.capitalize()}</th><td>{rule}</td>'
        f"<td>{found.count(name):,}</td><td>{100 * found.count(name) / len(found):.0f}%</td><td>{wanted}</td></tr>"
        for name, (rule, wanted) in rules.items()
    )
    heads = "".join(f'<th scope="col">{text}</th>' for text in ("Class", "Confidence", "Questions", "Share", "Wanted"))
    return (
        "<section><h2>What the original model knows</h2><p class='note'>Confidence on "
        f"{len(found):,} training questions: the share of its sampled answers that are correct.</p>"
        f'<div class="pair"><div class="panel">{confidence_histogram(confidences, classes)}</div>'
        f'<div><table class="classes"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div></div></section>'
    )


def _gallery_section(groups: Mapping[str, Sequence[Example]], read_image: Callable[[str], bytes]) -> str:
    if not groups:
        return ""
    sections = "".join(
        f'<div class="group"><h3>{_GROUP_TITLES[group][0]} <span>{_GROUP_TITLES[group][1]}</span></h3>'
        f'<ul class="cards">{"".join(_card(example, read_image) for example in examples)}</ul></div>'
        for group, examples in groups.items()
    )
    return (
        "<section><h2>Examples</h2><p class='note'>Not picked by hand: in each class, the first questions by the "
        "SHA-256 of their id, in-domain and out-of-domain in turn. The choice never looks at a reply. "
        "\u2713 correct, \u2717 wrong, \u2013 refused.</p>"
        f"{sections}</section>"
    )


def _card(example: Example, read_image: Callable[[str], bytes]) -> str:
    picture = embed_image(example.images[0], read_image) if example.images else None
    if picture:
        tiny = ' class="tiny"' if picture.pixelated else ""
        image = f'<img src="{picture.uri}" alt="Image of the question: {_clip(example.question)}"{tiny}>'
    else:
        image = '<div class="no-image">image not available</div>'
    gold = ", ".join(f"<bdi>{_clip(answer)}</bdi>" for answer in example.gold_answers[:4]) or "none"
    asked = "" if example.base_confidence is None else f" \u00b7 confidence {example.base_confidence:.1f}"
    replies = "".join(_reply(*reply) for reply in example.replies)
    return (
        f'<li class="card"><div class="ask">{image}<div><p class="question"><bdi>{_clip(example.question)}</bdi></p>'
        f'<p class="gold">Gold answer: {gold}</p><p class="where">{escape(example.benchmark)} \u00b7 '
        f'{DOMAIN_LABELS[example.domain]}{asked}</p></div></div><ul class="replies">{replies}</ul></li>'
    )


def _reply(method: str, outcome: str, reply: str, unparsed: bool) -> str:
    sign, name = _OUTCOMES[outcome]
    text = f"<bdi>{_clip(reply)}</bdi>" if reply.strip() else "(empty)"
    note = " (no readable answer)" if unparsed else ""
    return (
        f'<li><span class="who">{escape(method_label(method))}</span><span class="r-{outcome}">'
        f'<span class="sign" aria-hidden="true">{sign}</span><span class="hidden">{name}: </span>{text}{note}</span></li>'
    )


def _clip(text: str) -> str:
    return escape(text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "\u2026")
