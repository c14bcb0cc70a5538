"""Figures of the report as inline SVG without scripts or external resources; colours come from the page's CSS.

Content of `results.json` and lists of confidences -> SVG text. Axes: confidence in [0, 1], rates in percent.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inbol_ray.config.sampling import ClassConfig
from inbol_ray.evaluation.metrics import METHODS, method_order
from inbol_ray.method.classes import classify
from inbol_ray.report.wording import DOMAIN_LABELS, escape, method_label, number

_WIDTH, _HEIGHT = 460, 272
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 10, 22, 44
NUM_STYLES = 8
_MARKERS = (
    "M0-4A4 4 0 1 1 0 4A4 4 0 1 1 0-4Z",
    "M-3.6-3.6H3.6V3.6H-3.6Z",
    "M0-4.8L4.6 3.6H-4.6Z",
    "M0-5.2L5.2 0L0 5.2L-5.2 0Z",
    "M0-5.2L5.2 0L0 5.2L-5.2 0Z",
    "M0-5A5 5 0 1 1 0 5A5 5 0 1 1 0-5Z",
    "M0 4.8L4.6-3.6H-4.6Z",
    "M-4-1.3H-1.3V-4H1.3V-1.3H4V1.3H1.3V4H-1.3V1.3H-4Z",
)


@dataclass(frozen=True, slots=True)
class Point:
    """One bin: confidence in [0, 1], value and interval in percent."""

    confidence: float
    value: float
    interval: tuple[float, float] | None


def method_style(method: str, methods: Sequence[str]) -> int:
    """Number of the method's CSS class `m0`..`m7`, also its marker: fixed for the paper's methods."""
    if method in METHODS:
        return METHODS.index(method)
    return len(METHODS) + [name for name in methods if name not in METHODS].index(method) % (NUM_STYLES - len(METHODS))


def bin_points(bins: Sequence[Mapping], method: str, domain: str, score: str) -> list[Point]:
    """Points of one line (`score`: refr or answered_acc), from rows of `confidence_bins`, by confidence.

    Several seeds are pooled by their counts, without intervals: their questions are the same, so not independent.
    """
    by_confidence: dict[float, list[Mapping]] = {}
    for row in bins:
        if row["method"] == method and row["domain"] == domain and row[score] is not None:
            by_confidence.setdefault(row["confidence"], []).append(row)
    points = []
    for confidence, rows in sorted(by_confidence.items()):
        weights = [r["num_questions"] * (1.0 if score == "refr" else 1 - r["refr"] / 100) for r in rows]
        value = sum(w * r[score] for w, r in zip(weights, rows, strict=True)) / sum(weights)
        interval = rows[0][f"{score}_interval"] if len(rows) == 1 else None
        points.append(Point(confidence, value, tuple(interval) if interval else None))
    return points


def line_panel(bins: Sequence[Mapping], domain: str, score: str, title: str, classes: ClassConfig) -> str:
    """One panel of figure 4: `score` by the base model's confidence, a line a method, 95% intervals as whiskers."""
    methods = method_order(row["method"] for row in bins)
    lines = {method: bin_points(bins, method, domain, score) for method in methods}
    described = f"{title} {DOMAIN_LABELS[domain]}, by the base model's confidence. " + " ".join(
        f"{method_label(m)}: from {number(p[0].value)} at {p[0].confidence:.1f} to {number(p[-1].value)} "
        f"at {p[-1].confidence:.1f}."
        for m, p in lines.items()
        if p
    )
    parts = [_svg_open(_WIDTH, _HEIGHT, described), _bands(classes), _axes("Base model\u2019s confidence")]
    drawn = [method for method in methods if lines[method]]
    for place, method in enumerate(drawn):
        shift = (place - (len(drawn) - 1) / 2) * 3.2
        parts.append(_line(lines[method], method_style(method, methods), shift))
    return "".join(parts) + "</svg>"


def legend_mark(style: int) -> str:
    """A short line with the method's marker, for the legend; decorative, since its name stands beside it."""
    return (
        f'<svg class="mark m{style}" viewBox="-16 -8 32 16" width="32" height="16" aria-hidden="true">'
        f'<path class="line" d="M-15 0H15"/><path class="dot" d="{_MARKERS[style]}"/></svg>'
    )


def confidence_histogram(confidences: Sequence[float], classes: ClassConfig) -> str:
    """Histogram of confidences in [0, 1], bins of 0.1 centred on 0, 0.1, ..., 1, tinted by knowledge class."""
    counts = Counter(min(10, max(0, int(confidence * 10 + 0.5 + 1e-6))) for confidence in confidences)
    largest = max(counts.values())
    described = "Confidence of the original model on the training questions. " + " ".join(
        f"{tenth / 10:.1f}: {counts[tenth]:,}." for tenth in range(11)
    )

    parts = [_svg_open(_WIDTH, _HEIGHT, described), _bands(classes)]
    base = _HEIGHT - _BOTTOM
    width = 0.76 * (_WIDTH - _LEFT - _RIGHT) / 11
    for tenth in range(11):
        height = (base - _TOP - 26) * counts[tenth] / largest
        x = _x(tenth / 10)
        parts.append(
            f'<rect class="bar k-{classify(tenth / 10, True, classes)}" x="{x - width / 2:.1f}" y="{base - height:.1f}" '
            f'width="{width:.1f}" height="{height:.1f}"/>'
            f'<text class="count" x="{x:.1f}" y="{base - height - 5:.1f}">{counts[tenth]:,}</text>'
        )
    parts.append(_x_axis("Confidence: share of sampled answers that are correct"))
    return "".join(parts) + "</svg>"


def roc_panel(curves: Sequence[Sequence[tuple[float, float]]], described: str) -> str:
    """ROC curves of (false, true positive rate) in percent, in the styles `m0`, `m1`, ...; the diagonal is chance."""
    left, base, size = _LEFT, _HEIGHT - _BOTTOM, _HEIGHT - _BOTTOM - _TOP
    width = _WIDTH - _LEFT - _RIGHT
    ticks = "".join(
        f'<path class="{"axis" if tick == 0 else "grid"}" d="M{left} {_y(tick):.1f}H{_WIDTH - _RIGHT}"/>'
        f'<text class="y" x="{left - 7}" y="{_y(tick) + 4:.1f}">{tick}{"%" if tick == 100 else ""}</text>'
        f'<text class="x" x="{left + width * tick / 100:.1f}" y="{base + 17}">{tick}</text>'
        for tick in (0, 25, 50, 75, 100)
    )
    lines = "".join(
        f'<g class="m{style}"><path class="line" d="M'
        + "L".join(f"{left + width * x / 100:.1f} {base - size * y / 100:.1f}" for x, y in curve)
        + '"/></g>'
        for style, curve in enumerate(curves)
    )
    return (
        f"{_svg_open(_WIDTH, _HEIGHT, described)}{ticks}"
        f'<path class="grid" d="M{left} {base}L{_WIDTH - _RIGHT} {_TOP}"/>{lines}'
        f'<text class="x title" x="{left + width / 2:.1f}" y="{_HEIGHT - 8}">False positives</text></svg>'
    )


def penalty_panel(curves: Sequence[tuple[int, Sequence[tuple[float, float]]]], described: str) -> str:
    """S by lambda, a line a method: (style, points as (lambda, S in percent)). The dashed line is S_trust's lambda =
    1."""
    points = [point for _, curve in curves for point in curve]
    most = max(penalty for penalty, _ in points)
    step = next(size for size in (25, 50, 100, 200) if size * 6 >= 100 - min(score for _, score in points))
    low = -step * math.ceil(-min(0.0, *(score for _, score in points)) / step)
    base, width = _HEIGHT - _BOTTOM, _WIDTH - _LEFT - _RIGHT

    def x(penalty: float) -> float:
        return _LEFT + width * penalty / most

    def y(score: float) -> float:
        return base - (base - _TOP) * (score - low) / (100 - low)

    rows = "".join(
        f'<path class="{"axis" if score == 0 else "grid"}" d="M{_LEFT} {y(score):.1f}H{_WIDTH - _RIGHT}"/>'
        f'<text class="y" x="{_LEFT - 7}" y="{y(score) + 4:.1f}">{number(score).removesuffix(".0")}</text>'
        for score in range(low, 101, step)
    )
    ticks = "".join(
        f'<text class="x" x="{x(penalty):.1f}" y="{base + 17}">{penalty}</text>' for penalty in range(int(most) + 1)
    )
    lines = "".join(
        f'<g class="m{style}"><path class="line" d="M'
        + "L".join(f"{x(penalty):.1f} {y(score):.1f}" for penalty, score in curve)
        + '"/></g>'
        for style, curve in curves
    )
    return (
        f"{_svg_open(_WIDTH, _HEIGHT, described)}{rows}{ticks}"
        f'<path class="grid" stroke-dasharray="4 3" d="M{x(1):.1f} {_TOP}V{base}"/>{lines}'
        f'<text class="x title" x="{_LEFT + width / 2:.1f}" y="{_HEIGHT - 8}">\u03bb, price of a wrong reply</text></svg>'
    )


def _x(confidence: float) -> float:
    """Bin centres, with half a bin of room on either side."""
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (confidence * 10 + 0.5) / 11


def _y(percent: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * percent / 100


def _svg_open(width: int, height: int, described: str) -> str:
    return f'<svg class="plot" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(described)}">'


def _bands(classes: ClassConfig) -> str:
    """Tinted columns and names of the knowledge classes."""
    half = (_x(1.0) - _x(0.0)) / 20
    spans: dict[str, list[float]] = {}
    for tenth in range(11):
        spans.setdefault(classify(tenth / 10, True, classes), []).append(_x(tenth / 10))
    return "".join(
        f'<rect class="band k-{name}" x="{centres[0] - half:.1f}" y="{_TOP}" '
        f'width="{centres[-1] - centres[0] + 2 * half:.1f}" height="{_HEIGHT - _BOTTOM - _TOP}"/>'
        f'<text class="band-name" x="{(centres[0] + centres[-1]) / 2:.1f}" y="{_TOP - 7}">{name.capitalize()}</text>'
        for name, centres in spans.items()
    )


def _axes(x_title: str) -> str:
    grid = "".join(
        f'<path class="{"axis" if percent == 0 else "grid"}" d="M{_LEFT} {_y(percent):.1f}H{_WIDTH - _RIGHT}"/>'
        f'<text class="y" x="{_LEFT - 7}" y="{_y(percent) + 4:.1f}">{percent}{"%" if percent == 100 else ""}</text>'
        for percent in (0, 25, 50, 75, 100)
    )
    return grid + _x_axis(x_title)


def _x_axis(title: str) -> str:
    base = _HEIGHT - _BOTTOM
    ticks = "".join(
        f'<text class="x" x="{_x(t / 10):.1f}" y="{base + 17}">{t / 10:.1f}</text>' for t in range(0, 11, 2)
    )
    line = f'<path class="axis" d="M{_LEFT} {base}H{_WIDTH - _RIGHT}"/>'
    return (
        f'{line}{ticks}<text class="x title" x="{(_LEFT + _WIDTH - _RIGHT) / 2:.1f}" y="{_HEIGHT - 8}">{title}</text>'
    )


def _line(points: Sequence[Point], style: int, shift: float) -> str:
    places = [(_x(point.confidence) + shift, _y(point.value)) for point in points]
    whiskers = "".join(
        f"M{x:.1f} {_y(point.interval[0]):.1f}V{_y(point.interval[1]):.1f}"
        for (x, _), point in zip(places, points, strict=True)
        if point.interval
    )
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    dots = "".join(
        f'<path class="dot" transform="translate({x:.1f} {y:.1f})" d="{_MARKERS[style]}"/>' for x, y in places
    )
    return (
        f'<g class="m{style}"><path class="whisker" d="{whiskers}"/><path class="line" d="M{path}"/>{dots}</g>'
        if whiskers
        else f'<g class="m{style}"><path class="line" d="M{path}"/>{dots}</g>'
    )
