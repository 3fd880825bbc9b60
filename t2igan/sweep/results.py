"""Sweep results: CSV, table, plot."""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from input_pipeline.errors import UserError
from input_pipeline.files import is_number
from t2igan.report.line_plot import line_plot
from t2igan.sweep.comparison import Comparison, Point

if TYPE_CHECKING:
    from t2igan.sweep.trials import Trial


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


def write_results(folder: Path, trials: Sequence[Trial], by: Comparison) -> str:
    """Returns the table as text, after it, the plot and the full CSV have been written.

    Args:
      folder: of the sweep.
      trials: in the order of the config.
      by: what they are compared by.

    Raises:
      UserError: no trial has written the metric, though some have written others.
    """
    outcomes = [_outcome(trial, by) for trial in trials]
    _write_csv(folder / "results.csv", outcomes, by.metric)
    known = sorted({name for outcome in outcomes for name in outcome.last})
    if known and by.metric not in known:
        raise UserError(f"no trial has the metric {by.metric} (one of {', '.join(known)})")
    table = _table(outcomes, by)
    (folder / "table.md").write_text(table)
    curves = {outcome.trial.name: outcome.curve for outcome in outcomes if outcome.curve}
    if curves:
        marks = {outcome.trial.name: outcome.best for outcome in outcomes if outcome.best}
        plot = line_plot(curves, marks, x_label="step", y_label=by.metric)
        plot.save(folder / "plot.png")
    written = ["table.md", "results.csv", *(["plot.png"] if curves else [])]
    return table + "\n" + "\n".join(str(folder / name) for name in written)


def _outcome(trial: Trial, by: Comparison) -> Outcome:
    lines = trial.logged()
    last: dict[str, float] = {}
    for line in lines:
        last |= {key: float(value) for key, value in line.items() if is_number(value)}
    last.pop("step", None)
    status = "finished" if trial.finished else "failed" if trial.failed else "unfinished"
    step = max((line["step"] for line in lines), default=0)
    return Outcome(trial, status, step, last, by.curve(lines), by.best(lines))


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


def _table(outcomes: Sequence[Outcome], by: Comparison) -> str:
    fields = list(dict.fromkeys(key for outcome in outcomes for key in outcome.trial.overrides))
    head = ["trial", *fields, f"best {by.metric}", "at step", f"last {by.metric}", "status"]
    rows = [head, ["---"] * len(head)]
    sign = 1.0 if by.mode == "min" else -1.0
    for outcome in sorted(outcomes, key=lambda o: sign * o.best[1] if o.best else math.inf):
        best_step, best = outcome.best or ("", None)
        rows.append(
            [
                outcome.trial.name.split("_", 2)[1],
                *(_shown(outcome.trial.overrides.get(field, "")) for field in fields),
                "" if best is None else f"{best:.4g}",
                str(best_step),
                f"{outcome.curve[-1][1]:.4g}" if outcome.curve else "",
                outcome.status,
            ]
        )
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
