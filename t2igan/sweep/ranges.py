"""What a config's `sweep(add)` may give instead of a value: a range, or a choice, to search."""

from __future__ import annotations

import dataclasses
from typing import Any

from input_pipeline.errors import UserError


@dataclasses.dataclass(frozen=True)
class Range:
    """Numbers between two, both included.

    Attributes:
      low: the smallest.
      high: the largest.
      log: whether each factor is as likely as another of its size, for rates and weights.
      step: between the numbers; None for any, and 1 between whole ones.

    Raises:
      UserError: there is no number in it.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise UserError(f"Range({self.low}, {self.high}): give the smaller number first")
        if self.log and (self.low <= 0 or self.step is not None):
            raise UserError(f"{self}: log takes numbers above 0 and no step")
        if self.step is not None and self.step <= 0:
            raise UserError(f"{self}: step is a number above 0")

    @property
    def is_whole(self) -> bool:
        """Whether its numbers are whole."""
        return all(isinstance(number, int) for number in (self.low, self.high, self.step or 1))


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of some values.

    Attributes:
      values: at least two; numbers, texts, truth values.
    """

    values: tuple[Any, ...]

    def __init__(self, *values: Any) -> None:
        """Takes the values one by one.

        Raises:
          UserError: there are fewer than two.
        """
        if len(set(values)) < 2:
            raise UserError(f"Choice{values}: give two values at least")
        object.__setattr__(self, "values", values)
