"""Curves as an image, drawn with Pillow alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

# Distinct to color-blind eyes too (Okabe and Ito); repeated with other widths when they run out.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#999999")
SCALE = (
    2  # drawn so much larger, then downsampled: Pillow's lines have no antialiasing of their own
)
LEFT, RIGHT, TOP, BOTTOM = 76, 16, 16, 48
LEGEND_LINE = 18

Curve = Sequence[tuple[float, float]]
Place = tuple[float, float]


def line_plot(
    curves: Mapping[str, Curve],
    marks: Mapping[str, tuple[float, float]] | None = None,
    *,
    x_label: str,
    y_label: str,
    width: int = 860,
    height: int = 420,
) -> Image.Image:
    """Returns an RGB image of the curves over common axes, their names below.

    Args:
      curves: (x, y) points by name, in the order of x; finite, at least one point each.
      marks: a point of some of them that gets a dot, and its value beside the name.
      x_label: under the x axis.
      y_label: over the y axis.
      width: of the image, pixels.
      height: of the axes with their labels, pixels; names add to it.

    Raises:
      ValueError: there is nothing to draw.
    """
    points = [point for curve in curves.values() for point in curve]
    if not points:
        raise ValueError("no points to draw")
    total = height + LEGEND_LINE * len(curves)
    image = Image.new("RGB", (width * SCALE, total * SCALE), "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(12 * SCALE)
    x_ticks, y_ticks = ticks(*_span(x for x, _ in points)), ticks(*_span(y for _, y in points))
    box = (LEFT * SCALE, (TOP + 16) * SCALE, (width - RIGHT) * SCALE, (height - BOTTOM) * SCALE)

    def place(x: float, y: float) -> Place:
        left, top, right, bottom = box
        across = (x - x_ticks[0]) / (x_ticks[-1] - x_ticks[0])
        up = (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return left + across * (right - left), bottom - up * (bottom - top)

    _draw_axes(draw, font, box, x_ticks, y_ticks, place)
    draw.text(((box[0] + box[2]) / 2, box[3] + 24 * SCALE), x_label, "black", font, anchor="ma")
    draw.text((box[0], box[1] - 6 * SCALE), y_label, "black", font, anchor="lb")
    for number, (name, curve) in enumerate(curves.items()):
        color = COLORS[number % len(COLORS)]
        thick = (2 + number // len(COLORS)) * SCALE
        _draw_curve(draw, [place(x, y) for x, y in curve], color, thick)
        y = (height - 4 + LEGEND_LINE * number) * SCALE
        draw.line([(box[0], y), (box[0] + 24 * SCALE, y)], color, thick)
        mark = (marks or {}).get(name)
        if mark:
            _draw_dot(draw, place(*mark), color, thick)
            name = f"{name}: {mark[1]:.4g} at {mark[0]:.6g}"
        draw.text((box[0] + 32 * SCALE, y), name, "black", font, anchor="lm")
    return image.resize((width, total), Image.Resampling.LANCZOS)


def ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Round numbers, evenly apart, the first at or below `low` and the last at or above `high`.

    Args:
      low, high: finite, low < high.
      most: about how many.
    """
    rough = (high - low) / (most - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def _span(numbers: Iterable[float]) -> tuple[float, float]:
    values = list(numbers)
    low, high = min(values), max(values)
    if high - low > 1e-9 * max(abs(low), abs(high)):
        return low, high
    room = abs(low) * 0.1 or 1.0  # a single value, or a flat line: some room around it
    return low - room, high + room


def _draw_axes(
    draw: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    box: tuple[int, int, int, int],
    x_ticks: list[float],
    y_ticks: list[float],
    place: Callable[[float, float], Place],
) -> None:
    left, top, right, bottom = box
    for x in x_ticks:
        across, _ = place(x, y_ticks[0])
        draw.line([(across, top), (across, bottom)], "#E4E4E4", SCALE)
        draw.text((across, bottom + 6 * SCALE), f"{x:.6g}", "#444444", font, anchor="ma")
    for y in y_ticks:
        _, up = place(x_ticks[0], y)
        draw.line([(left, up), (right, up)], "#E4E4E4", SCALE)
        draw.text((left - 6 * SCALE, up), f"{y:.4g}", "#444444", font, anchor="rm")
    draw.rectangle(box, outline="#888888", width=SCALE)


def _draw_curve(draw: ImageDraw.ImageDraw, places: list[Place], color: str, thick: int) -> None:
    if len(places) > 1:
        draw.line(places, color, thick, joint="curve")
        return
    _draw_dot(draw, places[0], color, thick)


def _draw_dot(draw: ImageDraw.ImageDraw, at: Place, color: str, thick: int) -> None:
    x, y = at
    draw.ellipse((x - 2 * thick, y - 2 * thick, x + 2 * thick, y + 2 * thick), fill=color)
