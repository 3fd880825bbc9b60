"""Config files: found by path or in the package, run, and asked for their config."""

from __future__ import annotations

import functools
import importlib.util
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from ml_collections import ConfigDict

from input_pipeline.errors import UserError, did_you_mean

SHIPPED = Path(__file__).parents[2] / "configs"


@functools.cache
def table() -> dict[str, Any]:
    """Returns the fields that every config has, by dotted name: `configs.common.Field` each."""
    return load_module(str(SHIPPED / "common.py")).FIELDS


def split_argument(value: str) -> tuple[str, str | None]:
    """File and argument of `FILE.py[:ARG]`; the argument is None where there is none."""
    path, colon, arg = value.partition(":")
    return path, arg if colon else None


def load_module(path: str) -> ModuleType:
    """Returns the config file as a module: `get_config` and perhaps `sweep`.

    Args:
      path: a Python file; `configs/NAME.py` is also found in the installed package.

    Raises:
      UserError: there is no such file, or running it fails.
    """
    file = find_file(path)
    spec = importlib.util.spec_from_file_location(f"t2igan_config_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise UserError(f"--config={path} is not a Python file (FILE.py or FILE.py:ARG)")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever the user's own file raises, in one line
        raise UserError(_failure(path, file, error)) from error
    if not callable(getattr(module, "get_config", None)):
        raise UserError(f"--config={path} has no function get_config()")
    return module


def find_file(path: str) -> Path:
    """Returns where the config file is: as given, or in the installed `configs` package."""
    if not path:
        raise UserError("--config is empty: give --config=configs/NAME.py")
    file = Path(path)
    if file.is_file():
        return file
    shipped = SHIPPED / file.name
    if file.parent == Path("configs") and shipped.is_file():
        return shipped
    raise UserError(f"no config file {path}{_near_file(file)}")


def call_get_config(module: ModuleType, path: str, arg: str | None) -> ConfigDict:
    """Returns what the module's `get_config` returns, checked to be a ConfigDict."""
    try:
        config = module.get_config() if arg is None else module.get_config(arg)
    except UserError:
        raise
    except Exception as error:
        raise UserError(_failure(path, Path(module.__file__ or path), error)) from error
    if not isinstance(config, ConfigDict):
        raise UserError(f"--config={path}: get_config() returned {type(config).__name__}")
    return config


def _near_file(file: Path) -> str:
    folder = file.parent if file.parent.is_dir() else SHIPPED
    shown = file.parent if file.parent.is_dir() else Path("configs")
    names = sorted(path.name for path in folder.glob("*.py") if path.name != "__init__.py")
    hint = did_you_mean(file.name, names)
    if hint:
        return hint.replace("mean ", f"mean {shown}/")
    return f" ({shown} has {', '.join(names)})" if names else ""


def _failure(path: str, file: Path, error: Exception) -> str:
    """Which line of the user's file failed, and how."""
    if isinstance(error, SyntaxError):
        where = f" line {error.lineno}" if error.lineno else ""  # none where the bytes are no text
        return f"--config={path}{where}: {error.msg}"
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename) == file or frame.filename == str(file.resolve())
    ]
    where = f" line {lines[-1]}" if lines else ""
    return f"--config={path}{where}: {type(error).__name__}: {error}"
