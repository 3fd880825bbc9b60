"""Metrics of a run as curves that a page can hold, however long the run."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from input_pipeline.files import is_number

MOST_POINTS = 160

# What is looked at first; a chart is left out where the run has none of its metrics.
MAIN_CHARTS: dict[str, dict[str, str]] = {
    "Discriminator loss": {"training": "loss/d", "validation": "validation/loss/d"},
    "Generator loss": {"training": "loss/g", "validation": "validation/loss/g"},
    "KL term": {"training": "loss/kl", "validation": "validation/loss/kl"},
    "Discriminator's logits": {
        "real": "logits/real",
        "mismatched caption": "logits/mismatched",
        "generated": "logits/fake",
    },
    "Gradient norms": {"generator": "grad_norm/g", "discriminator": "grad_norm/d"},
    "Images per second": {"training": "images_per_sec"},
}


@dataclasses.dataclass(frozen=True)
class Point:
    """What a metric was in a stretch of steps.

    Attributes:
      step: the last of the stretch.
      mean, low, high: of the values in it.
    """

    step: int
    mean: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Chart:
    """Curves over common axes.

    Attributes:
      title: what they show.
      curves: points by the curve's name, at least one curve, each with at least one point.
    """

    title: str
    curves: dict[str, list[Point]]


def charts(lines: Sequence[Mapping[str, Any]]) -> tuple[list[Chart], list[Chart]]:
    """Returns the charts to look at first, and those of all other metrics.

    Args:
      lines: of metrics.jsonl.
    """
    values = _values(lines)
    main = [
        Chart(title, {name: shortened(values[key]) for name, key in keys.items() if key in values})
        for title, keys in MAIN_CHARTS.items()
        if any(key in values for key in keys.values())
    ]
    shown = {key for keys in MAIN_CHARTS.values() for key in keys.values()}
    groups: dict[str, dict[str, list[Point]]] = {}
    for key in sorted(values.keys() - shown):
        group, _, name = key.rpartition("/")
        groups.setdefault(group or key, {})[name] = shortened(values[key])
    return main, [Chart(group, curves) for group, curves in groups.items()]


def clock(lines: Sequence[Mapping[str, Any]]) -> list[tuple[int, float]]:
    """Returns (step, seconds of training until then) where the lines tell; in order of the steps.

    Args:
      lines: of metrics.jsonl.
    """
    timed = {
        int(line["step"]): float(line["seconds/step"])
        for line in lines
        if is_number(line.get("step")) and is_number(line.get("seconds/step"))
    }
    found, before, seconds = [], 0, 0.0
    for step in sorted(timed):
        seconds += (step - before) * timed[step]
        before = step
        found.append((step, seconds))
    return found


def duration(seconds: float) -> str:
    """Returns seconds, minutes or hours, with two or three digits."""
    for size, name in ((3600.0, "h"), (60.0, "min")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.3g} {name}"
    return f"{seconds:.0f} s"


def shortened(values: Sequence[tuple[int, float]], most: int = MOST_POINTS) -> list[Point]:
    """Returns at most `most` points, each of equally many (step, value) pairs but the last."""
    size = math.ceil(len(values) / most)
    parts = (values[start : start + size] for start in range(0, len(values), size))
    return [_point(part) for part in parts]


def _point(part: Sequence[tuple[int, float]]) -> Point:
    numbers = [value for _, value in part]
    return Point(part[-1][0], math.fsum(numbers) / len(numbers), min(numbers), max(numbers))


def _values(lines: Iterable[Mapping[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """Finite numbers by metric, in the order of their steps; other things are passed over."""
    values: dict[str, list[tuple[int, float]]] = {}
    for line in lines:
        step = line.get("step")
        if not is_number(step):
            continue
        for name, value in line.items():
            if name != "step" and is_number(value):
                values.setdefault(name, []).append((int(step), float(value)))
    return {name: sorted(pairs) for name, pairs in values.items()}
