"""Modules of a user's own, named on the command line or in a config."""

from __future__ import annotations

import importlib
from types import ModuleType

from input_pipeline.errors import UserError


def is_extension(name: str) -> bool:
    """Returns whether a name is a dotted module's, such as `my_pkg.lsgan`."""
    parts = name.split(".")
    return len(parts) > 1 and all(part.isidentifier() for part in parts)


def import_extension(name: str, attribute: str, given: str) -> ModuleType:
    """Returns the module of a dotted name, which must define an attribute.

    Args:
      name: such as `my_pkg.lsgan`; imported as Python finds it (see PYTHONPATH).
      attribute: what the module has to define.
      given: flag or field and its value, for errors.

    Raises:
      UserError: there is no such module, importing it fails, or it lacks the attribute.
    """
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name + ".").startswith(error.name + "."):
            raise UserError(
                f"{given}: no module {error.name}; its folder must be on PYTHONPATH, or its "
                "package installed"
            ) from error
        raise UserError(f"{given}: {name} needs {error.name}, which is not installed") from error
    except Exception as error:  # whatever the user's own module raises, in one line
        raise UserError(f"{given}: {name}: {type(error).__name__}: {error}") from error
    if not hasattr(module, attribute):
        raise UserError(f"{given}: {name} defines no {attribute}")
    return module
