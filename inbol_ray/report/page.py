"""The report as one HTML page: no script, nothing that is fetched, readable without colour.

Content of `results.json` + PREDICTION rows + confidences -> HTML text. `sections` decides what is shown, the Jinja2
templates beside this module how. Every expression in a template is escaped unless it is markup that `plots` or `markup`
made; a name that a template misspells is an error; the page's own policy forbids scripts and fetches.
"""

from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa
from jinja2 import Environment, PackageLoader, StrictUndefined

from inbol_ray.config.sampling import ClassConfig
from inbol_ray.report import sections
from inbol_ray.report.benchmark_tables import RULES_NOTE, RULES_TITLE, usage_grid
from inbol_ray.report.markup import printable, rich
from inbol_ray.report.plots import legend_mark
from inbol_ray.report.wording import DOMAIN_LABELS, duration, headline, method_label, number, order_sentence, span

_MAX_TEXT = 400
"""Characters of a question or reply that the page shows."""


def render_page(
    results: Mapping,
    predictions: pa.Table,
    confidences: Sequence[float],
    classes: ClassConfig,
    read_image: Callable[[str], bytes],
) -> str:
    """The page. The arguments are those of `report.write_report`."""
    sentence, evidence = headline(results)
    return TEMPLATES.get_template("report.html").render(
        title=f"{results['name']}: {sentence}" if results["name"] else sentence,
        sentence=sentence,
        evidence=evidence,
        kicker=sections.kicker(results),
        hero=sections.hero(results),
        scores=sections.scores(results),
        rules=sections.rules(results),
        gaps=sections.gaps(results),
        penalty=sections.penalty(results),
        confidence=sections.confidence(results, classes),
        risk_coverage=sections.risk_coverage(results),
        histogram=sections.histogram(confidences, classes),
        estimators=sections.estimators(results),
        examples=sections.examples(predictions, classes, read_image),
        agreement=sections.agreement(results),
        usage=usage_grid(results["endpoints"]) if results.get("endpoints") else None,
        stages=sections.stages(results),
        provenance=sections.provenance(results, predictions),
    )


def _clip(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "\u2026"


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("inbol_ray.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "clip": _clip,
        "domain": DOMAIN_LABELS.__getitem__,
        "duration": duration,
        "method": method_label,
        "number": number,
        "order_sentence": order_sentence,
        "rich": rich,
        "span": span,
    }
    environment.globals |= {
        "legend_mark": legend_mark,
        "rules_note": RULES_NOTE.replace("`", ""),
        "rules_title": RULES_TITLE,
        "trust": rich("S_trust"),
    }
    return environment


TEMPLATES = _environment()
