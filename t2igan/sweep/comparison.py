"""What the trials of a sweep are compared by."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from input_pipeline.files import is_number

if TYPE_CHECKING:
    from ml_collections import ConfigDict

Point = tuple[int, float]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A metric, and which of its values is best.

    Attributes:
      metric: name in metrics.jsonl or evaluation.jsonl.
      mode: "min" or "max".
      is_asked: whether somebody has asked for it; it is the generator's validation loss
        otherwise, which says little, for there to be something in the table.
    """

    metric: str
    mode: str
    is_asked: bool

    @classmethod
    def of(cls, config: ConfigDict, metric: str, mode: str) -> Comparison:
        """Returns what a config and the command line ask for.

        Args:
          config: of any trial.
          metric: name; empty for what ranks the run's checkpoints, see `evaluation.best`.
          mode: "min" or "max"; empty for what the metric wants.

        Raises:
          UserError: see `evaluation.best.best_by`.
        """
        from t2igan.evaluation.best import best_by

        by, by_mode = best_by(config)
        chosen = metric or by
        mode = mode or (by_mode if chosen == by else "min")
        return cls(chosen or "validation/loss/g", mode, bool(chosen))

    def curve(self, lines: Iterable[Mapping[str, Any]]) -> list[Point]:
        """Returns (step, value) of the metric, finite values only, of lines that have a step."""
        return [
            (line["step"], float(line[self.metric]))
            for line in lines
            if is_number(line.get(self.metric))
        ]

    def best(self, lines: Iterable[Mapping[str, Any]]) -> Point | None:
        """Returns the best point of the curve, or None where it has none."""
        choose = min if self.mode == "min" else max
        return choose(self.curve(lines), key=lambda point: point[1], default=None)
