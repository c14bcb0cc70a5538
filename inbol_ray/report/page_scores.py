"""The page's scores: the bars at the top, the tables, the paired differences.

Content of `results.json` -> HTML fragments; text from data is escaped.
"""

from collections.abc import Callable, Mapping

from inbol_ray.evaluation.metrics import DOMAINS
from inbol_ray.report.wording import (
    DOMAIN_LABELS,
    Difference,
    differences,
    escape,
    mean_scores,
    method_label,
    number,
    rich,
    seeds_of,
    span,
)

_TRUST = rich("S_trust")


def render_hero(results: Mapping) -> str:
    """Share of correct, refused and wrong replies, a bar a method; means where there are several seeds."""
    panels = []
    for domain in DOMAINS:
        scores = mean_scores(results, domain)
        if not scores:
            continue
        best = max(round(values["s_trust"], 1) for values in scores.values())
        rows = "".join(_rowbar(method, values, best) for method, values in scores.items())
        panels.append(
            f"<div><h3>{DOMAIN_LABELS[domain].capitalize()} <span>{_question_count(results, domain)}</span></h3>"
            f'<div class="rowbar head" aria-hidden="true"><span></span><span>Share of replies, %</span>'
            f'<span class="score">{_TRUST}</span></div>{rows}</div>'
        )
    keys = "".join(
        f'<li><span class="swatch o-{outcome}"></span>{text}</li>'
        for outcome, text in (("correct", "correct, +1"), ("refused", "refused, 0"), ("wrong", "wrong, \u22121"))
    )
    return f'<div class="hero"><div class="pair">{"".join(panels)}</div><ul class="keys">{keys}' + (
        f"<li><span>{_TRUST} is the mean of these values in percent; the highest is bold.</span></li></ul></div>"
    )


def _rowbar(method: str, values: Mapping[str, float], best: float) -> str:
    wrong = max(0.0, 100 - values["acc"] - values["refr"])
    shares = (("correct", values["acc"]), ("refused", values["refr"]), ("wrong", wrong))
    described = ", ".join(f"{name} {share:.1f} percent" for name, share in shares)
    parts = "".join(
        f'<i class="o-{name}" style="width:{share:.3f}%">{f"{share:.0f}" if share >= 7 else ""}</i>'
        for name, share in shares
        if share > 0.05
    )
    bold = " best" if round(values["s_trust"], 1) == best else ""
    return (
        f'<div class="rowbar"><span class="{bold.strip()}">{escape(method_label(method))}</span>'
        f'<span class="stack" role="img" aria-label="{described}">{parts}</span>'
        f'<span class="score{bold}"><span class="hidden">S_trust </span>{number(values["s_trust"])}</span></div>'
    )


def _question_count(results: Mapping, domain: str) -> str:
    counts = {row["num_questions"] for row in results["results"] if row["domain"] == domain}
    seeds = len(seeds_of(results))
    return f"{max(counts):,} questions" + (f", {seeds} seeds" if seeds > 1 else "")


def render_scores(results: Mapping) -> str:
    """Section with a table a domain and, folded away, every benchmark."""
    tables = "".join(_scores_table(results, domain) for domain in DOMAINS)
    errors = sum(row["num_errors"] for row in results["results"])
    failed = f" {errors:,} questions have no reply; they count as neither correct nor refused." if errors else ""
    return (
        "<section><h2>Scores</h2><p class='note'>Percent, with 95% intervals. Acc is the share of questions answered "
        f"correctly, RefR the share refused, {_TRUST} = 2 Acc + RefR \u2212 100; Ans. Acc is the accuracy over the "
        f"questions that were answered. A refusal never counts as correct.{failed}</p>{tables}"
        f"{_benchmark_details(results)}</section>"
    )


def _scores_table(results: Mapping, domain: str) -> str:
    rows = [row for row in results["results"] if row["domain"] == domain]
    if not rows:
        return ""
    parts = (("", "All questions", ("s_trust", "acc", "refr", "answered_acc")),)
    if any(row["answerable"]["num_questions"] for row in rows):
        parts += (("answerable", "Answerable", ("acc", "refr", "answered_acc")),)
    if any(row["unanswerable"]["num_questions"] for row in rows):
        parts += (("unanswerable", "Unanswerable", ("refr",)),)
    heads = {"s_trust": _TRUST, "acc": "Acc", "refr": "RefR", "answered_acc": "Ans. Acc"}
    first, second = [], []
    for part, title, scores in parts:
        cut = ' class="cut"' if part else ""
        first.append(f'<th scope="colgroup" colspan="{len(scores)}"{cut}>{title}</th>')
        second += [f'<th scope="col"{cut if i == 0 else ""}>{heads[score]}</th>' for i, score in enumerate(scores)]
    best: dict[int, float] = {}
    for row in rows:
        if row["s_trust"] is not None:
            best[row["seed"]] = max(best.get(row["seed"], -100.0), round(row["s_trust"], 1))
    several = len(seeds_of(results)) > 1
    body = []
    for row in rows:
        name = escape(method_label(row["method"])) + (f", seed {row['seed']}" if several else "")
        cells = []
        for part, _, scores in parts:
            source = row[part] if part else row
            for index, score in enumerate(scores):
                bold = score == "s_trust" and source[score] is not None and round(source[score], 1) == best[row["seed"]]
                marks = " ".join(filter(None, ["best" if bold else "", "cut" if part and index == 0 else ""]))
                cells.append(_score_cell(source, score, marks))
        body.append(f'<tr><th scope="row">{name}</th>{"".join(cells)}</tr>')
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Scores {DOMAIN_LABELS[domain]}"><table>'
        f"<caption>{DOMAIN_LABELS[domain].capitalize()} <span>{_question_count(results, domain)}</span></caption>"
        f'<thead><tr><th scope="col" rowspan="2">Method</th>{"".join(first)}</tr><tr>{"".join(second)}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _score_cell(scores: Mapping, score: str, css_class: str = "") -> str:
    attribute = f' class="{css_class}"' if css_class else ""
    interval = scores.get(f"{score}_interval")
    small = f"<small>{span(interval)}</small>" if interval else ""
    return f"<td{attribute}>{number(scores[score])}{small}</td>"


def _benchmark_details(results: Mapping) -> str:
    body = "".join(
        f'<tr><th scope="row">{escape(benchmark)}</th><td>{DOMAIN_LABELS[row["domain"]]}</td>'
        f"<td>{escape(method_label(row['method']))}</td><td>{row['seed']}</td><td>{scores['num_questions']:,}</td>"
        + "".join(_score_cell(scores, score) for score in ("s_trust", "acc", "refr", "answered_acc"))
        + f"<td>{number(scores['unparsed_rate'])}</td></tr>"
        for domain in DOMAINS
        for benchmark in sorted({n for r in results["results"] if r["domain"] == domain for n in r["benchmarks"]})
        for row in results["results"]
        if row["domain"] == domain and (scores := row["benchmarks"].get(benchmark))
    )
    heads = ["Benchmark", "Domain", "Method", "Seed", "Questions", _TRUST, "Acc", "RefR", "Ans. Acc", "Unparsed"]
    head = "".join(f'<th scope="col">{text}</th>' for text in heads)
    return (
        "<details><summary>Every benchmark by itself</summary><div class='scroll'><table>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></details>"
    )


def render_differences(results: Mapping) -> str:
    """Section with the paired differences of S_trust, drawn on one scale; empty where there are none."""
    found = differences(results)
    if not found:
        return ""
    ends = [end for one in found.values() for end in (*(one.interval or ()), one.value, 0.0)]
    low, high = min(ends), max(ends)
    margin = 0.04 * (high - low) or 1.0

    def place(value: float) -> float:
        return 100 * (value - low + margin) / (high - low + 2 * margin)

    tables = []
    for domain in DOMAINS:
        rows = "".join(
            _difference_row(f"{method_label(method)} \u2212 {method_label(baseline)}", one, place)
            for (method, baseline, where), one in found.items()
            if where == domain
        )
        if rows:
            tables.append(
                f"<table class='gaps'><caption>{DOMAIN_LABELS[domain].capitalize()}</caption><thead><tr>"
                '<th scope="col">Difference</th><th scope="col"><span class="hidden">Drawn</span></th>'
                f'<th scope="col">Points of {_TRUST}</th></tr></thead><tbody>{rows}</tbody></table>'
            )
    basis = "the same questions" if len(seeds_of(results)) == 1 else f"{len(seeds_of(results))} seeds"
    return (
        f"<section><h2>Which differences hold up</h2><p class='note'>{_TRUST} of one method minus another\u2019s, paired "
        f"over {basis}, with 95% intervals. The dashed line is zero; a hollow grey dot marks a difference whose "
        f'interval includes it, or that has none.</p><div class="pair">{"".join(tables)}</div></section>'
    )


def _difference_row(label: str, one: Difference, place: Callable[[float], float]) -> str:
    low, high = one.interval or (one.value, one.value)
    unclear = "" if one.verdict else " unclear"
    track = (
        f'<div class="track{unclear}" aria-hidden="true"><i class="zero" style="left:{place(0):.2f}%"></i>'
        f'<i class="ci" style="left:{place(low):.2f}%;width:{place(high) - place(low):.2f}%"></i>'
        f'<i class="dot" style="left:{place(one.value):.2f}%"></i></div>'
    )
    numbers = f"{number(one.value, True)}<small>{span(one.interval, True)}</small>"
    return f'<tr><th scope="row">{rich(label)}</th><td class="track-cell">{track}</td><td>{numbers}</td></tr>'
