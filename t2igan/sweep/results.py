"""Sweep results: CSV, table, plot."""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from input_pipeline.errors import UserError
from input_pipeline.files import is_number, read_lines
from t2igan.report.line_plot import line_plot

if TYPE_CHECKING:
    from t2igan.sweep.trials import Trial

Point = tuple[int, float]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Where one trial stands.

    Attributes:
      trial: the trial.
      status: "finished", "failed" or "unfinished".
      step: steps done.
      last: each metric's last value.
      curve: (step, value) of the metric compared by, finite values only.
      best: the best point of `curve`, or None where it has none.
    """

    trial: Trial
    status: str
    step: int
    last: dict[str, float]
    curve: list[Point]
    best: Point | None


def write_results(
    workdir: Path, trials: Sequence[Trial], metric: str, mode: str, failures: Mapping[str, str]
) -> str:
    """Returns the table as text, after it, the plot and the full CSV have been written to
    `workdir`.

    Args:
      workdir: the sweep's folder.
      trials: in the order of the config.
      metric: name to compare by; empty for the config's `checkpoint.best_metric`.
      mode: whether "min" or "max" of it is best; empty for the config's `checkpoint.best_mode`.
      failures: names of trials that failed.

    Raises:
      UserError: no trial has written the metric, though some have written others.
    """
    from t2igan.evaluation.best import best_by

    by, by_mode = best_by(trials[0].config)
    metric = metric or by or "validation/loss/g"  # something must be in the table
    mode = mode or (by_mode if metric == by else "min")
    outcomes = [_outcome(trial, metric, mode, trial.name in failures) for trial in trials]
    _write_csv(workdir / "results.csv", outcomes, metric)
    known = sorted({name for outcome in outcomes for name in outcome.last})
    if known and metric not in known:
        raise UserError(f"no trial has the metric {metric} (one of {', '.join(known)})")
    table = _table(outcomes, metric, mode)
    (workdir / "table.md").write_text(table)
    curves = {outcome.trial.name: outcome.curve for outcome in outcomes if outcome.curve}
    if curves:
        line_plot(curves, x_label="step", y_label=metric).save(workdir / "plot.png")
    written = ["table.md", "results.csv", *(["plot.png"] if curves else [])]
    return table + "\n" + "\n".join(str(workdir / name) for name in written)


def _outcome(trial: Trial, metric: str, mode: str, failed: bool) -> Outcome:
    lines = [
        line
        for name in ("metrics.jsonl", "evaluation.jsonl")
        for line in read_lines(trial.workdir / name)
        if isinstance(line.get("step"), int) and is_number(line["step"])
    ]
    last: dict[str, float] = {}
    curve: list[Point] = []
    for line in lines:
        numbers = {key: float(value) for key, value in line.items() if is_number(value)}
        del numbers["step"]
        last |= numbers
        if metric in numbers:
            curve.append((line["step"], numbers[metric]))
    choose = min if mode == "min" else max
    best = choose(curve, key=lambda point: point[1]) if curve else None
    status = "finished" if trial.finished else "failed" if failed else "unfinished"
    return Outcome(
        trial, status, max((line["step"] for line in lines), default=0), last, curve, best
    )


def _write_csv(path: Path, outcomes: Sequence[Outcome], metric: str) -> None:
    fields = list(dict.fromkeys(key for outcome in outcomes for key in outcome.trial.overrides))
    metrics = sorted({name for outcome in outcomes for name in outcome.last})
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["trial", "status", "step", *fields, f"best {metric}", "best step", *metrics]
        )
        for outcome in outcomes:
            best = outcome.best or ("", "")
            writer.writerow(
                [
                    outcome.trial.name,
                    outcome.status,
                    outcome.step,
                    *(outcome.trial.overrides.get(field, "") for field in fields),
                    best[1],
                    best[0],
                    *(outcome.last.get(name, "") for name in metrics),
                ]
            )


def _table(outcomes: Sequence[Outcome], metric: str, mode: str) -> str:
    fields = list(dict.fromkeys(key for outcome in outcomes for key in outcome.trial.overrides))
    head = ["trial", *fields, f"best {metric}", "at step", f"last {metric}", "status"]
    rows = [head, ["---"] * len(head)]
    sign = 1.0 if mode == "min" else -1.0
    for outcome in sorted(outcomes, key=lambda o: sign * o.best[1] if o.best else math.inf):
        best_step, best = outcome.best or ("", None)
        rows.append(
            [
                outcome.trial.name.split("_", 2)[1],
                *(str(outcome.trial.overrides.get(field, "")) for field in fields),
                "" if best is None else f"{best:.4g}",
                str(best_step),
                f"{outcome.curve[-1][1]:.4g}" if outcome.curve else "",
                outcome.status,
            ]
        )
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)
