"""Figures of the report as inline SVG, without scripts or anything that is fetched; colours come from the page's CSS.

Content of `results.json` and lists of confidences -> SVG markup. Axes: confidence in [0, 1], rates in percent.

Drawn by hand, not by a library: five small figures of lines and bars share these axes; a library's SVG would be many
times as large, hold its own fonts and colours in place of the page's (light, dark and print), and have no description
for screen readers.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from inbol_ray.config.sampling import ClassConfig
from inbol_ray.evaluation.metrics import METHODS, method_order
from inbol_ray.method.classes import classify
from inbol_ray.report.markup import escape
from inbol_ray.report.wording import number

_WIDTH, _HEIGHT = 460, 272
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 10, 22, 44
_RISK_TOP = 10
"""The panel of risk and coverage has no names of classes above it."""
_BASE = _HEIGHT - _BOTTOM
_PERCENT_TICKS = (0, 25, 50, 75, 100)
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
StyledCurve = tuple[int, Sequence[tuple[float, float]]]
"""Number of the CSS class, and (x, y) points."""


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


def legend_mark(style: int) -> Markup:
    """A short line with the method's marker, for the legend; decorative, since its name stands beside it."""
    return Markup(
        f'<svg class="mark m{style}" viewBox="-16 -8 32 16" width="32" height="16" aria-hidden="true">'
        f'<path class="line" d="M-15 0H15"/><path class="dot" d="{_MARKERS[style]}"/></svg>'
    )


def line_panel(bins: Sequence[Mapping], domain: str, score: str, described: str, classes: ClassConfig) -> Markup:
    """One panel of figure 4: `score` by the base model's confidence, one line per method, 95% intervals as whiskers."""
    methods = method_order(row["method"] for row in bins)
    lines = {method: points for method in methods if (points := bin_points(bins, method, domain, score))}
    drawn = "".join(
        _whiskered_line(points, method_style(method, methods), (place - (len(lines) - 1) / 2) * 3.2)
        for place, (method, points) in enumerate(lines.items())
    )
    axes = _percent_rows() + _confidence_axis("Base model\u2019s confidence")
    return _figure(described, _bands(classes) + axes + drawn)


def confidence_histogram(confidences: Sequence[float], classes: ClassConfig) -> Markup:
    """Histogram of confidences in [0, 1], bins of 0.1 centred on 0, 0.1, ..., 1, tinted by knowledge class."""
    counts = Counter(min(10, max(0, int(confidence * 10 + 0.5 + 1e-6))) for confidence in confidences)
    largest = max(counts.values())
    described = "Confidence of the original model on the training questions. " + " ".join(
        f"{tenth / 10:.1f}: {counts[tenth]:,}." for tenth in range(11)
    )
    width = 0.76 * (_WIDTH - _LEFT - _RIGHT) / 11
    bars = ""
    for tenth in range(11):
        height = (_BASE - _TOP - 26) * counts[tenth] / largest
        x = _x_of_confidence(tenth / 10)
        bars += (
            f'<rect class="bar k-{classify(tenth / 10, True, classes)}" x="{x - width / 2:.1f}" '
            f'y="{_BASE - height:.1f}" width="{width:.1f}" height="{height:.1f}"/>'
            f'<text class="count" x="{x:.1f}" y="{_BASE - height - 5:.1f}">{counts[tenth]:,}</text>'
        )
    axis = _confidence_axis("Confidence: share of sampled answers that are correct")
    return _figure(described, _bands(classes) + bars + axis)


def roc_panel(curves: Sequence[Sequence[tuple[float, float]]], described: str) -> Markup:
    """ROC curves of (false, true positive rate) in percent, in the styles `m0`, `m1`, ...; the diagonal is chance."""
    diagonal = f'<path class="grid" d="M{_LEFT} {_BASE}L{_WIDTH - _RIGHT} {_TOP}"/>'
    lines = "".join(_line(style, ((_x_of_percent(x), _y(y)) for x, y in curve)) for style, curve in enumerate(curves))
    ticks = _percent_rows() + _percent_columns()
    return _figure(described, ticks + diagonal + lines + _x_title("False positives"))


def risk_panel(curves: Sequence[StyledCurve], described: str) -> Markup:
    """Risk by coverage, one line per method, both in percent."""
    lines = "".join(
        _line(style, ((_x_of_percent(coverage), _y(risk, _RISK_TOP)) for coverage, risk in curve))
        for style, curve in curves
    )
    ticks = _percent_rows(_RISK_TOP, unit="") + _percent_columns()
    return _figure(described, ticks + lines + _x_title("Coverage, %"))


def penalty_panel(curves: Sequence[StyledCurve], described: str) -> Markup:
    """S by lambda, one line per method: points are (lambda, S in percent). The dashed line is S_trust's lambda = 1."""
    points = [point for _, curve in curves for point in curve]
    most = max(penalty for penalty, _ in points)
    step = next(size for size in (25, 50, 100, 200) if size * 6 >= 100 - min(score for _, score in points))
    low = -step * math.ceil(-min(0.0, *(score for _, score in points)) / step)

    def x(penalty: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * penalty / most

    def y(score: float) -> float:
        return _BASE - (_BASE - _TOP) * (score - low) / (100 - low)

    rows = "".join(
        _row(y(score), number(score).removesuffix(".0"), is_axis=score == 0) for score in range(low, 101, step)
    )
    ticks = "".join(_x_tick(x(penalty), str(penalty)) for penalty in range(int(most) + 1))
    at_1 = f'<path class="grid" stroke-dasharray="4 3" d="M{x(1):.1f} {_TOP}V{_BASE}"/>'
    lines = "".join(_line(style, ((x(penalty), y(score)) for penalty, score in curve)) for style, curve in curves)
    return _figure(described, rows + ticks + at_1 + lines + _x_title("\u03bb, price of a wrong reply"))


def _figure(described: str, content: str) -> Markup:
    """`described` is data, `content` SVG of this module."""
    return Markup(
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(described)}">{content}</svg>'
    )


def _x_of_confidence(confidence: float) -> float:
    """Bin centres, with half a bin of room on either side."""
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (confidence * 10 + 0.5) / 11


def _x_of_percent(percent: float) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * percent / 100


def _y(percent: float, top: int = _TOP) -> float:
    return _BASE - (_BASE - top) * percent / 100


def _row(y: float, label: str, is_axis: bool) -> str:
    """A horizontal line with its label."""
    return (
        f'<path class="{"axis" if is_axis else "grid"}" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>'
        f'<text class="y" x="{_LEFT - 7}" y="{y + 4:.1f}">{label}</text>'
    )


def _percent_rows(top: int = _TOP, unit: str = "%") -> str:
    """`unit` stands beside 100 alone."""
    return "".join(
        _row(_y(tick, top), f"{tick}{unit if tick == 100 else ''}", is_axis=tick == 0) for tick in _PERCENT_TICKS
    )


def _x_tick(x: float, label: str) -> str:
    return f'<text class="x" x="{x:.1f}" y="{_BASE + 17}">{label}</text>'


def _percent_columns() -> str:
    return "".join(_x_tick(_x_of_percent(tick), str(tick)) for tick in _PERCENT_TICKS)


def _x_title(title: str) -> str:
    return f'<text class="x title" x="{(_LEFT + _WIDTH - _RIGHT) / 2:.1f}" y="{_HEIGHT - 8}">{title}</text>'


def _confidence_axis(title: str) -> str:
    ticks = "".join(_x_tick(_x_of_confidence(t / 10), f"{t / 10:.1f}") for t in range(0, 11, 2))
    return f'<path class="axis" d="M{_LEFT} {_BASE}H{_WIDTH - _RIGHT}"/>{ticks}{_x_title(title)}'


def _bands(classes: ClassConfig) -> str:
    """Tinted columns and names of the knowledge classes."""
    half = (_x_of_confidence(1.0) - _x_of_confidence(0.0)) / 20
    spans: dict[str, list[float]] = {}
    for tenth in range(11):
        spans.setdefault(classify(tenth / 10, True, classes), []).append(_x_of_confidence(tenth / 10))
    return "".join(
        f'<rect class="band k-{name}" x="{centres[0] - half:.1f}" y="{_TOP}" '
        f'width="{centres[-1] - centres[0] + 2 * half:.1f}" height="{_BASE - _TOP}"/>'
        f'<text class="band-name" x="{(centres[0] + centres[-1]) / 2:.1f}" y="{_TOP - 7}">{name.capitalize()}</text>'
        for name, centres in spans.items()
    )


def _path(places: Iterable[tuple[float, float]]) -> str:
    return '<path class="line" d="M' + "L".join(f"{x:.1f} {y:.1f}" for x, y in places) + '"/>'


def _line(style: int, places: Iterable[tuple[float, float]]) -> str:
    return f'<g class="m{style}">{_path(places)}</g>'


def _whiskered_line(points: Sequence[Point], style: int, shift: float) -> str:
    places = [(_x_of_confidence(point.confidence) + shift, _y(point.value)) for point in points]
    whiskers = "".join(
        f"M{x:.1f} {_y(point.interval[0]):.1f}V{_y(point.interval[1]):.1f}"
        for (x, _), point in zip(places, points, strict=True)
        if point.interval
    )
    dots = "".join(
        f'<path class="dot" transform="translate({x:.1f} {y:.1f})" d="{_MARKERS[style]}"/>' for x, y in places
    )
    drawn = f'<path class="whisker" d="{whiskers}"/>' if whiskers else ""
    return f'<g class="m{style}">{drawn}{_path(places)}{dots}</g>'
