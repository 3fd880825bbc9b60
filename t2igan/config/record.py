"""Configs as flat fields, as JSON text and as files."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from input_pipeline.errors import UserError
from t2igan.config import aliases
from t2igan.config.files import table


def fields(config: ConfigDict) -> dict[str, Any]:
    """Returns every field by its dotted name, in order."""
    former = aliases.former_fields()
    return {name: value for name, value in _walk(config, "") if name not in former}


def to_json(config: ConfigDict) -> str:
    """Returns the config as JSON text, one field a line."""
    return json.dumps(aliases.upgrade(config.to_dict()), indent=2) + "\n"


def locked(values: Mapping[str, Any]) -> ConfigDict:
    """Returns a locked config of nested values, which may be of an earlier version.

    A field that came later has its default, which is what was done before there was the field.
    """
    config = ConfigDict(aliases.upgrade(values))
    for name, field in table().items():
        group, _, leaf = name.rpartition(".")
        inside = config.get(group) if group else config
        came_later = field.since != "0.1"
        if came_later and isinstance(inside, ConfigDict) and leaf not in inside:
            inside[leaf] = field.default
    return config.lock()


def from_json(text: str, origin: str = "config.json") -> ConfigDict:
    """Returns the config that `to_json` wrote, locked, under today's names.

    Args:
      text: JSON.
      origin: file name for the error.

    Raises:
      UserError: the text is not a JSON object, or one whose names no config can have.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{origin} is damaged, not JSON: {error}") from error
    if not isinstance(values, dict):
        raise UserError(f"{origin} is damaged: it holds no config")
    try:
        return locked(values)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{origin} is damaged: it holds no config") from error


def read(path: Path) -> ConfigDict:
    """Returns the config in a file that `to_json` filled, locked, under today's names.

    Raises:
      UserError: the file is something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is damaged, not UTF-8 text: {error}") from error
    return from_json(text, str(path))


@contextlib.contextmanager
def every_field_known() -> Iterator[None]:
    """Turns a missing field into one line: a config of another version may lack it.

    Raises:
      UserError: the block has asked a config for a field that it does not have.
    """
    try:
        yield
    except AttributeError as error:
        missing = error.args[0] if error.args else None
        if not isinstance(missing, KeyError):  # what ml_collections wraps
            raise
        field = str(missing.args[0]).splitlines()[0]
        raise UserError(
            f"the config has no field {field}: it is of another version of t2igan; build it on "
            "configs/common.py, or continue with the version that made the run"
        ) from error


def _walk(config: ConfigDict, prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, ConfigDict):
            yield from _walk(value, f"{prefix}{key}.")
        else:
            # JSON has no tuples: a list and a tuple of the same values are the same field.
            yield prefix + key, list(value) if isinstance(value, tuple) else value
