"""A chart as an inline SVG, drawn in the page's own colors."""

from __future__ import annotations

import json
from collections.abc import Sequence

from t2igan.report.curves import Chart, Point, duration
from t2igan.report.line_plot import ticks
from t2igan.report.markup import Markup, element

WIDTH, HEIGHT = 420, 242
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 38
COLORS = 6  # of the page's style, --c0 to --c5
_FEW = 40  # points that are shown as dots too
_DOT = 2.5  # their radius


def chart(drawn: Chart, clock: Sequence[tuple[int, float]] = ()) -> Markup:
    """Returns a figure: title, legend with the last values, and the curves.

    The line is the mean of a stretch of steps, the shade behind it from the lowest value to the
    highest. The page's script writes the values under the pointer into the legend.

    Args:
      drawn: the curves.
      clock: (step, seconds of training until then), for a second line under the steps.
    """
    legend = [
        element(
            "span",
            element("i", class_=f"c{number % COLORS}"),
            f"{name} ",
            element("b", number_text(points[-1].mean)),
        )
        for number, (name, points) in enumerate(drawn.curves.items())
    ]
    return element(
        "figure",
        element("figcaption", element("h3", drawn.title), element("p", legend, class_="legend")),
        _drawing(drawn, clock),
        class_="chart",
    )


def number_text(value: float) -> str:
    """Returns four digits of a number, with thousands apart where it is large."""
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def _drawing(drawn: Chart, clock: Sequence[tuple[int, float]]) -> Markup:
    points = [point for curve in drawn.curves.values() for point in curve]
    x_ticks = _ticks([point.step for point in points], 6, whole=True)
    y_ticks = _ticks(_usual([point.mean for point in points]), 5)
    axes = _Axes(x_ticks, y_ticks)
    curves = [
        _curve(points, axes, f"c{number % COLORS}")
        for number, points in enumerate(drawn.curves.values())
    ]
    told = [[[p.step, float(f"{p.mean:.6g}")] for p in points] for points in drawn.curves.values()]
    frame = [LEFT, WIDTH - RIGHT, x_ticks[0], x_ticks[-1]]
    return element(
        "svg",
        _grid(axes, clock),
        _clipped(curves, axes),
        element("line", x1=0, x2=0, y1=TOP, y2=HEIGHT - BOTTOM, class_="pointer"),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=f"{drawn.title} over {x_ticks[-1]:,.0f} steps",
        data_curves=json.dumps(told),
        data_frame=json.dumps(frame),
    )


def _clipped(curves: list[Markup], axes: _Axes) -> Markup:
    """The curves without what is far outside; a dot on the frame is shown whole."""
    width, height = axes.width + 2 * _DOT, axes.height + 2 * _DOT
    return element(
        "svg",
        curves,
        x=LEFT - _DOT,
        y=TOP - _DOT,
        width=width,
        height=height,
        viewBox=f"{-_DOT} {-_DOT} {width} {height}",
    )


class _Axes:
    """Where numbers lie, in the drawing's units, within the frame."""

    def __init__(self, x_ticks: Sequence[float], y_ticks: Sequence[float]) -> None:
        self.x_ticks, self.y_ticks = x_ticks, y_ticks
        self.width, self.height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(self, step: float) -> float:
        first, last = self.x_ticks[0], self.x_ticks[-1]
        return round((step - first) / (last - first) * self.width, 1)

    def y(self, value: float) -> float:
        low, high = self.y_ticks[0], self.y_ticks[-1]
        place = (high - value) / (high - low) * self.height
        return round(min(max(place, -1e4), 1e4), 1)  # far outside is as good as farther


def _curve(points: Sequence[Point], axes: _Axes, color: str) -> Markup:
    line = " ".join(f"{axes.x(p.step)},{axes.y(p.mean)}" for p in points)
    parts = [element("polyline", points=line, class_=f"line {color}")]
    if any(p.low < p.high for p in points):
        edge = [(p.step, p.high) for p in points] + [(p.step, p.low) for p in reversed(points)]
        around = " ".join(f"{axes.x(step)},{axes.y(value)}" for step, value in edge)
        parts.insert(0, element("polygon", points=around, class_=f"band {color}"))
    elif len(points) <= _FEW:
        dots = [(axes.x(p.step), axes.y(p.mean)) for p in points]
        parts += [element("circle", cx=x, cy=y, r=_DOT, class_=f"dot {color}") for x, y in dots]
    return element("g", parts)


def _grid(axes: _Axes, clock: Sequence[tuple[int, float]]) -> list[Markup]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = []
    for value in axes.y_ticks:
        y = TOP + axes.y(value)
        parts.append(element("line", x1=LEFT, x2=right, y1=y, y2=y, class_="grid"))
        parts.append(element("text", _tick_text(value), x=LEFT - 6, y=y + 4, class_="y"))
    for step in axes.x_ticks:
        x = LEFT + axes.x(step)
        parts.append(element("text", _tick_text(step), x=x, y=bottom + 16, class_="x"))
        if clock and step > 0:
            text = duration(_seconds_at(step, clock))
            parts.append(element("text", text, x=x, y=bottom + 30, class_="x time"))
    return parts


def _seconds_at(step: float, clock: Sequence[tuple[int, float]]) -> float:
    """Seconds of training until a step; straight on between and after the known ones."""
    before, at = (0, 0.0), clock[0]
    for point in clock:
        if point[0] > before[0]:
            at = point
        if point[0] >= step:
            break
        before = point if point != clock[-1] else before
    if at[0] == before[0]:
        return at[1]
    return before[1] + (step - before[0]) * (at[1] - before[1]) / (at[0] - before[0])


def _tick_text(value: float) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= 10 * size or (letter == "M" and abs(value) >= size):
            return f"{value / size:.4g}{letter}"
    return f"{value:.4g}"


def _usual(values: Sequence[float]) -> list[float]:
    """Returns the values without the few that would flatten all others against an edge."""
    ordered = sorted(values)
    cut = len(ordered) // 40
    middle = ordered[cut : len(ordered) - cut]
    room = middle[-1] - middle[0]
    return [value for value in ordered if middle[0] - room <= value <= middle[-1] + room]


def _ticks(values: Sequence[float], most: int, whole: bool = False) -> list[float]:
    low, high = min(values), max(values)
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # a single value, or a flat line
        room = max(1.0, abs(low) * 1e-6) if whole else abs(low) * 0.1 or 1.0
        low, high = low - room, high + room
    return ticks(low, high, most)
