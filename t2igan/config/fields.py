"""The check of a config's values by the table of fields in configs/common.py."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from input_pipeline.errors import UserError
from t2igan.config.files import table
from t2igan.config.record import fields

if TYPE_CHECKING:
    from ml_collections import ConfigDict


def check(config: ConfigDict) -> None:
    """Refuses values that no run can be made of.

    Args:
      config: see configs/common.py; a field that it lacks or adds is not checked here.

    Raises:
      UserError: names the field, its value, and what is allowed.
    """
    known = table()
    for name, value in fields(config).items():
        allowed = _allowed(known[name], value) if name in known else ""
        if allowed:
            raise UserError(f"config.{name}={value}: must be {allowed}")
    if not config.train.steps and not config.train.epochs:
        raise UserError("config.train.steps and config.train.epochs are both 0: nothing to train")
    _check_rollback(config)


def _check_rollback(config: ConfigDict) -> None:
    if not 0 < config.rollback.factor <= 1:
        raise UserError(
            f"config.rollback.factor={config.rollback.factor}: must be above 0, up to 1"
        )
    every, saved = config.health.every, config.train.checkpoint_every
    if config.rollback.times and (not every or saved % every):
        raise UserError(
            f"config.rollback.times={config.rollback.times} needs checkpoints that were checked: "
            f"config.train.checkpoint_every={saved} must be a multiple of "
            f"config.health.every={every}, and that above 0"
        )


def _allowed(field: Any, value: Any) -> str:
    """Returns what the field may be where the value is something else, else an empty text."""
    if field.choices and value not in field.choices:
        return " or ".join(field.choices)
    if field.least is not None and not isinstance(value, int | float):
        return "a number"  # a config.json may hold anything
    if isinstance(value, float) and not math.isfinite(value):
        return "a finite number"
    return "" if field.least is None or _is_within(field, value) else _range(field)


def _is_within(field: Any, value: float) -> bool:
    return (
        value >= field.least
        and (field.most is None or value <= field.most)
        and (field.below is None or value < field.below)
    )


def _range(field: Any) -> str:
    if field.below is not None:
        return f"from {field.least} to below {field.below}"
    return f"{field.least} or more" if field.most is None else f"from {field.least} to {field.most}"
