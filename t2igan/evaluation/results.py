"""Results as lines of `evaluation.jsonl`, and as a table."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from input_pipeline.files import read_lines
from t2igan.metrics.engine.result import Estimate, Result


def append(
    path: Path,
    results: Sequence[Result],
    origin: dict[str, Any],
    metrics: Sequence[str],
    seconds: float,
) -> dict[str, bool]:
    """Returns adds a line a result; says of each metric whether it is the best of all steps so far.

    A line has the number under `SPLIT/METRIC`, as the lines of training have theirs.

    Args:
      path: of the JSON lines; its folder is made.
      results: of one model.
      origin: what was measured: `step`, `split`, ...
      metrics: names of the metric files that were asked for.
      seconds: that all of them together took.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    before = read_lines(path)
    best = {result.metric: _is_best(result, origin["split"], before) for result in results}
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with path.open("a", encoding="utf-8") as file:
        for result in results:
            key = f"{origin['split']}/{result.metric}"
            line = {**origin, key: _number(result.estimate.value), **result.as_json()}
            line |= {
                "best": best[result.metric],
                "asked": ",".join(metrics),
                "seconds": round(seconds, 1),
                "time": when,
            }
            file.write(json.dumps(line) + "\n")
    return best


def is_measured(path: Path, step: int, split: str, metrics: Sequence[str]) -> bool:
    """Returns whether a step has all these metrics of the split already.

    Args:
      path: of the JSON lines.
      step: of the checkpoint.
      split: that was measured on.
      metrics: names of the metric files that are asked for.
    """
    lines = [line for line in read_lines(path) if line.get("step") == step]
    asked = ",".join(metrics)
    return any(line.get("split") == split and line.get("asked") == asked for line in lines)


def table(
    results: Sequence[Result], origin: dict[str, Any], best: dict[str, bool], seconds: float
) -> str:
    """Returns the results as text: number, interval, references; `*` marks the best step so far."""
    labels = list(dict.fromkeys(label for result in results for label in result.references))
    head = ["metric", "value", "95 % interval", *labels, "better"]
    rows = [head]
    for result in results:
        mark = " *" if best.get(result.metric) and "step" in origin else ""
        estimate = result.estimate
        references = [_told(result.references.get(label)) for label in labels]
        value = _told(estimate) + mark
        rows.append([result.metric, value, _interval(estimate), *references, result.better])
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    what = ", ".join(f"{key} {value}" for key, value in origin.items())
    return "\n".join([f"{what}; {seconds:.0f} s", *lines])


def _is_best(result: Result, split: str, before: Sequence[dict[str, Any]]) -> bool:
    key = f"{split}/{result.metric}"
    others = [line[key] for line in before if isinstance(line.get(key), int | float)]
    value = result.estimate.value
    if result.better not in ("lower", "higher") or not math.isfinite(value):
        return False
    sign = 1 if result.better == "higher" else -1
    return all(sign * value > sign * other for other in others)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _told(estimate: Estimate | None) -> str:
    return "" if estimate is None else _short(estimate.value)


def _interval(estimate: Estimate) -> str:
    if not math.isfinite(estimate.low):
        return ""
    return f"{_short(estimate.low)} to {_short(estimate.high)}"


def _short(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "none"
