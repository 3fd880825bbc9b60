"""A measured number: its interval, what it stands beside, and what it was computed with."""

from __future__ import annotations

import dataclasses
import math
from typing import Any


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number and the interval that other draws of images would move it within.

    Attributes:
      value: from all images.
      low: lower end of its 95 % interval, NaN where there is none.
      high: upper end.
      details: other numbers that belong to it, e.g. KID's spread over its subsets.
    """

    value: float
    low: float = float("nan")
    high: float = float("nan")
    details: dict[str, Any] = dataclasses.field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Returns the numbers; what is not one is null, an interval that is missing is left out."""
        line: dict[str, Any] = {"value": self.value if math.isfinite(self.value) else None}
        if math.isfinite(self.low):
            line["interval"] = [self.low, self.high]
        return line | self.details


@dataclasses.dataclass(frozen=True)
class Result:
    """One metric of one model.

    Attributes:
      metric: named by its protocol, e.g. `frechet_lite0`.
      estimate: the model's number.
      better: `lower` or `higher`; empty where neither is.
      references: the same number of real images, of blurred ones, ..., by name.
      provenance: what the number depends on: see `t2igan.metrics.engine.provenance`.
    """

    metric: str
    estimate: Estimate
    better: str
    references: dict[str, Estimate]
    provenance: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Returns as `evaluation.jsonl` has it."""
        return {
            "metric": self.metric,
            "estimate": self.estimate.as_json(),
            "better": self.better,
            "references": {
                name: reference.as_json() for name, reference in self.references.items()
            },
            "provenance": self.provenance,
        }
