"""Fields that were set and change nothing, because the recipe never reads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from t2igan.config.files import table
from t2igan.config.record import fields

_GROUPS = (
    "model",
    "loss",
)  # what recipes read; the other groups are read by what all of them share
_SHARED = {"loss.penalty_interval"}


class _Recorder(ConfigDict):
    """A group of fields that keeps the names of those that were read."""

    def __init__(self, group: str, values: ConfigDict, read: set[str]) -> None:
        super().__init__(values)
        object.__setattr__(self, "_group", group)
        object.__setattr__(self, "_read", read)

    def __getitem__(self, key: str) -> Any:
        self._read.add(f"{self._group}.{key}")
        return super().__getitem__(key)


def unread(config: ConfigDict, build: Callable[[ConfigDict], Any]) -> list[str]:
    """Returns the fields of `model` and `loss` that are not at their defaults and not read.

    Args:
      config: of an experiment.
      build: makes the recipe from a config.
    """
    read: set[str] = set()
    watched = ConfigDict(config, type_safe=False)
    with watched.unlocked():
        for group in _GROUPS:
            watched[group] = _Recorder(group, config[group], read)
    build(watched)
    defaults = {name: field.default for name, field in table().items()}
    return [
        name
        for name, value in fields(config).items()
        if name.partition(".")[0] in _GROUPS
        and name not in read | _SHARED
        and value != defaults.get(name)
    ]
