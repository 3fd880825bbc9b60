"""Fields that were set and change nothing, and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from t2igan.config.files import table
from t2igan.config.record import fields

_GROUPS = ("model", "loss")  # of recipes; the others are read for whatever recipe there is
_OFF = (0, "", "constant")


class _Recorder(ConfigDict):
    """A group of fields that keeps the names of those that were read."""

    def __init__(self, group: str, values: ConfigDict, read: set[str]) -> None:
        super().__init__(values)
        object.__setattr__(self, "_group", group)
        object.__setattr__(self, "_read", read)

    def __getitem__(self, key: str) -> Any:
        self._read.add(f"{self._group}.{key}")
        return super().__getitem__(key)


def unused(config: ConfigDict, build: Callable[[ConfigDict], Any]) -> dict[str, str]:
    """Returns {field: why} of those that are not at their defaults and have no effect.

    Either the recipe does not read it, or what it refines is switched off (`Field.needs`).

    Args:
      config: of an experiment.
      build: makes the recipe from a config.
    """
    read = _read(config, build)
    values = fields(config)
    found = {}
    for name, field in table().items():
        if values.get(name, field.default) == field.default:
            continue
        if name.partition(".")[0] in _GROUPS and name not in read:
            found[name] = f"{config.recipe} does not read it"
        elif field.needs and all(values.get(other) in _OFF for other in field.needs):
            found[name] = f"needs {' or '.join(field.needs)}"
    return found


def _read(config: ConfigDict, build: Callable[[ConfigDict], Any]) -> set[str]:
    read = {"loss.penalty_interval"}  # by the step, of every recipe
    watched = ConfigDict(config, type_safe=False)
    with watched.unlocked():
        for group in _GROUPS:
            watched[group] = _Recorder(group, config[group], read)
    build(watched)
    return read


def in_one_line(found: dict[str, str]) -> str:
    """Returns what `unused` found in one line."""
    return ", ".join(f"{name} ({why})" for name, why in found.items())
