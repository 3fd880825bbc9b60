"""A config file and command-line overrides in, one locked config out."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from input_pipeline.errors import UserError, did_you_mean
from t2igan.config import aliases
from t2igan.config.files import call_get_config, load_module, split_argument
from t2igan.config.record import fields, locked


def load(config_words: Sequence[str], default: ConfigDict | None = None) -> ConfigDict:
    """Returns the config that the command line describes, locked.

    Args:
      config_words: `--config=FILE.py[:ARG]` and `--config.KEY=VALUE`, as the command line
        separates them from other flags.
      default: what the overrides apply to where no `--config` is given, such as a run's own.

    Raises:
      UserError: no file and no default, a file that does not load, an unknown field, a value of
        another type.
    """
    files, overrides = split_files(config_words)
    if files:
        path, arg = split_argument(files[-1].partition("=")[2])
        config = call_get_config(load_module(path), path, arg)
    elif default is not None:
        config = default
    else:
        raise UserError("no experiment given: add --config=configs/NAME.py")
    return override(config, overrides)


def split_files(config_words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Returns the words that name a config file, and those that change a field."""
    files = [word for word in config_words if word.split("=", 1)[0].lstrip("-") == "config"]
    return files, [word for word in config_words if word not in files]


def override(config: ConfigDict, overrides: Sequence[str]) -> ConfigDict:
    """Returns the config with fields changed, locked, all under today's names.

    Args:
      config: is not changed.
      overrides: words `--config.KEY=VALUE`; `--config.FLAG` and `--noconfig.FLAG` for booleans.

    Raises:
      UserError: an unknown field, a value of another type.
    """
    config = config.copy_and_resolve_references()  # ConfigDict(config) would share the groups
    for word in map(_renamed, overrides):
        _check_field(config, word)
        # One at a time, so that an error is about this word. The flags are ml_collections' own,
        # in a private registry: their types and spellings hold here too.
        registry = flags.FlagValues()
        word = _whole(config, word)
        try:
            config_flags.DEFINE_config_dict(
                "config", config, flag_values=registry, sys_argv=["t2igan", word]
            )
            registry(["t2igan", word])
        except (flags.Error, TypeError, ValueError) as error:
            raise UserError(_wrong_value(config, word)) from error
        config = registry["config"].value
    return locked(config.to_dict())


def _renamed(word: str) -> str:
    """The word with an old field's or recipe's name replaced by today's."""
    flag, equals, value = word.partition("=")
    prefix, dot, name = flag.partition(".")
    name = aliases.field(name)
    return f"{prefix}{dot}{name}{equals}{aliases.value(name, value)}"


def _whole(config: ConfigDict, word: str) -> str:
    """The word with a whole number written as such: 1e3 is 1000."""
    flag, _, text = word.partition("=")
    value = fields(config)[_field_name(word)]
    if isinstance(value, bool) or not isinstance(value, int):
        return word
    try:
        number = float(text)
    except ValueError:
        return word
    return f"{flag}={int(number)}" if number.is_integer() and "e" in text.lower() else word


def _check_field(config: ConfigDict, word: str) -> None:
    name = _field_name(word)
    known = fields(config)
    if name in known:
        return
    inside = [field for field in known if field.startswith(name + ".")]
    if inside:
        raise UserError(f"config.{name} is a group: set one of {', '.join(inside)}")
    raise UserError(f"no field config.{name}{near_field(name, known)}")


def _field_name(word: str) -> str:
    return word.split("=", 1)[0].partition(".")[2]


def near_field(name: str, known: Collection[str]) -> str:
    """Returns `; did you mean config.X?` for the nearest field, or where all are listed."""
    hint = did_you_mean(name, known, cutoff=0.75)
    if not hint:  # the right leaf in the wrong group, or in none
        leaves = {field.rpartition(".")[2]: field for field in known}
        leaf = difflib.get_close_matches(name.rpartition(".")[2], leaves, n=1, cutoff=0.6)
        hint = f"; did you mean {leaves[leaf[0]]}?" if leaf else ""
    return hint.replace("mean ", "mean config.") or " (configs/common.py lists all)"


def _wrong_value(config: ConfigDict, word: str) -> str:
    name, given = _field_name(word), word.partition("=")[2]
    value: Any = fields(config)[name]
    kinds = {"str": "a text", "float": "a number", "int": "a whole number", "bool": "true or false"}
    wanted = kinds.get(type(value).__name__, f"a {type(value).__name__}")
    return f"config.{name} takes {wanted}, such as {value!r}, not {given!r}"
