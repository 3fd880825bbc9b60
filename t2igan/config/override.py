"""Configs: a Python file and command-line overrides in, one locked ConfigDict out; and as JSON."""

from __future__ import annotations

import contextlib
import difflib
import functools
import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from input_pipeline.errors import UserError
from t2igan.config.files import SHIPPED, call_get_config, load_module, split_argument

ABSENT = "(absent)"

# What may differ when a run is resumed: where data lies, how long it goes on, what is shown and
# kept. All else would make the checkpoint and the steps that follow two different experiments.
FREE_ON_RESUME = (
    "checkpoint",
    "data.cache",
    "data.dir",
    "data.test_split",
    "evaluate",
    "health",
    "rollback",
    "sample",
    "train.checkpoint_every",
    "train.epochs",
    "train.log_every",
    "train.mapper",
    "train.sample_every",
    "train.steps",
    "train.validate_every",
    "train.validation_batches",
    "use_compilation_cache",
)


def load(config_flags: Sequence[str], default: ConfigDict | None = None) -> ConfigDict:
    """The config that the flags describe, locked.

    Args:
      config_flags: words `--config=FILE.py[:ARG]` and `--config.KEY=VALUE`, as `cli` sets them
        aside.
      default: what the overrides apply to where no `--config` is given, such as a run's own.

    Raises:
      UserError: no file and no default, a file that does not load, an unknown field, a value of
        another type.
    """
    files, overrides = split_files(config_flags)
    if files:
        path, arg = split_argument(files[-1].partition("=")[2])
        config = call_get_config(load_module(path), path, arg)
    elif default is not None:
        config = default
    else:
        raise UserError("no experiment given: add --config=configs/NAME.py")
    return override(config, overrides)


def split_files(config_flags: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words that name a config file, and those that change a field."""
    files = [word for word in config_flags if word.split("=", 1)[0].lstrip("-") == "config"]
    return files, [word for word in config_flags if word not in files]


def override(config: ConfigDict, overrides: Sequence[str]) -> ConfigDict:
    """The config with fields changed, locked.

    Args:
      config: is not changed.
      overrides: words `--config.KEY=VALUE`; `--config.FLAG` and `--noconfig.FLAG` for booleans.

    Raises:
      UserError: an unknown field, a value of another type.
    """
    config = config.copy_and_resolve_references()  # ConfigDict(config) would share the groups
    for word in overrides:
        _check_field(config, word)
        # One at a time, so that a complaint is about this word. The flags are ml_collections'
        # own, in a private registry: their types and spellings hold here too.
        registry = flags.FlagValues()
        try:
            config_flags.DEFINE_config_dict(
                "config", config, flag_values=registry, sys_argv=["t2igan", word]
            )
            registry(["t2igan", word])
        except (flags.Error, TypeError, ValueError) as error:
            raise UserError(_wrong_value(config, word)) from error
        config = registry["config"].value
    return config.lock()


def fields(config: ConfigDict) -> dict[str, Any]:
    """Every field by its dotted name, in order."""
    return dict(_walk(config, ""))


def to_json(config: ConfigDict) -> str:
    """The config as JSON text, one field a line."""
    return json.dumps(config.to_dict(), indent=2) + "\n"


def from_json(text: str, origin: str = "config.json") -> ConfigDict:
    """The config that `to_json` wrote, locked.

    Args:
      text: JSON.
      origin: file name for the complaint.

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
        return ConfigDict(values).lock()
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{origin} is damaged: it holds no config") from error


def read(path: Path) -> ConfigDict:
    """The config in a file that `to_json` filled, locked.

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
    """A config.json, or an experiment's file, of another version may lack a field.

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
            "configs/common.py, or go on with the version that made the run"
        ) from error


def differences(old: ConfigDict, new: ConfigDict) -> dict[str, tuple[Any, Any]]:
    """Fields that differ, by dotted name: (old value, new value), `ABSENT` where there is none."""
    before, after = fields(old), fields(new)
    return {
        name: (before.get(name, ABSENT), after.get(name, ABSENT))
        for name in before | after
        if before.get(name, ABSENT) != after.get(name, ABSENT)
    }


def changes(old: ConfigDict, new: ConfigDict) -> dict[str, tuple[Any, Any]]:
    """As `differences`, but for fields that an older version did not know.

    What a run did before there was a field is what the field's default in configs/common.py does.

    Args:
      old: kept by a run, perhaps of an older version.
      new: of this version.
    """
    differ = differences(old, new)
    if not any(before is ABSENT for before, _ in differ.values()):
        return differ
    defaults = fields(_defaults())
    return {
        name: (before, after)
        for name, (before, after) in differ.items()
        if before is not ABSENT or after != defaults.get(name, ABSENT)
    }


@functools.cache
def _defaults() -> ConfigDict:
    path = str(SHIPPED / "common.py")
    return call_get_config(load_module(path), path, None)


def check_resumes(
    old: ConfigDict, new: ConfigDict, where: str, free: Collection[str] = FREE_ON_RESUME
) -> None:
    """Refuses to go on with a run under another config.

    Args:
      old: the run's own.
      new: what is asked for now.
      where: the run's folder.
      free: fields, or groups of fields, that may differ.

    Raises:
      UserError: names what differs.
    """
    changed = {
        name: values
        for name, values in changes(old, new).items()
        if not any(name == field or name.startswith(field + ".") for field in free)
    }
    if changed:
        listed = ", ".join(
            f"{name} is {old!r} there, {new!r} here" for name, (old, new) in changed.items()
        )
        raise UserError(
            f"{where} holds a run made with another config: {listed}; "
            "give those values, or another --workdir"
        )


def _walk(config: ConfigDict, prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, ConfigDict):
            yield from _walk(value, f"{prefix}{key}.")
        else:
            # JSON has no tuples: a list and a tuple of the same values are the same field.
            yield prefix + key, list(value) if isinstance(value, tuple) else value


def _check_field(config: ConfigDict, word: str) -> None:
    name = _field_name(word)
    known = fields(config)
    if name in known:
        return
    inside = [field for field in known if field.startswith(name + ".")]
    if inside:
        raise UserError(f"config.{name} is a group: set one of {', '.join(inside)}")
    raise UserError(f"no field config.{name}{_near_field(name, known)}")


def _field_name(word: str) -> str:
    return word.split("=", 1)[0].partition(".")[2]


def _near_field(name: str, known: Collection[str]) -> str:
    matches = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    if not matches:  # the right leaf in the wrong group, or in none
        leaves = {field.rpartition(".")[2]: field for field in known}
        leaf = difflib.get_close_matches(name.rpartition(".")[2], leaves, n=1, cutoff=0.6)
        matches = [leaves[match] for match in leaf]
    return f"; did you mean config.{matches[0]}?" if matches else " (configs/common.py lists all)"


def _wrong_value(config: ConfigDict, word: str) -> str:
    name, given = _field_name(word), word.partition("=")[2]
    value = fields(config)[name]
    kind = {"str": "text", "float": "number", "int": "whole number", "bool": "true or false"}
    wanted = kind.get(type(value).__name__, type(value).__name__)
    return f"config.{name} takes a {wanted} such as {value!r}, not {given!r}".replace(
        "a true or false such", "true or false, such"
    )
