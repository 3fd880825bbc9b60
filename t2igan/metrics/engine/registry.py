"""Finds metrics by the name of their file, and runs several in one go."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from input_pipeline.errors import UserError
from t2igan.config.aliases import METRICS
from t2igan.metrics.engine.context import Context
from t2igan.metrics.engine.result import Result


def names() -> list[str]:
    """Every metric: the files here that define `measure`."""
    files = sorted(Path(__file__).parents[1].glob("*.py"))
    return [file.stem for file in files if "\ndef measure(" in file.read_text(encoding="utf-8")]


def check(name: str) -> None:
    """Imports nothing.

    Raises:
      UserError: there is no metric of that name.
    """
    known = names()
    if name not in known:
        raise UserError(f"no metric is called {name!r}: choose of {', '.join(known)}")


def listed(text: str) -> list[str]:
    """Names of a comma-separated list, each once.

    Raises:
      UserError: there is no metric of one of the names.
    """
    found = [METRICS.get(name.strip(), name.strip()) for name in text.split(",") if name.strip()]
    for name in found:
        check(name)
    return list(dict.fromkeys(found))


def find(name: str) -> ModuleType:
    """The module of a metric: `READERS` and `measure(context) -> list[Result]`.

    One that is defined on certain evaluations only has `require(context)`, which raises else.

    Raises:
      UserError: there is no such metric.
    """
    check(name)
    return importlib.import_module(f"t2igan.metrics.{name}")


def readers_of(metrics: Sequence[str], network: str) -> list[str]:
    """Names of the feature networks and oracles that the metrics read pictures with.

    `READERS` of a metric lists them; `network` in it stands for the one chosen.
    """
    listed = [reader for name in metrics for reader in find(name).READERS]
    return sorted({network if reader == "network" else reader for reader in listed})


def require_all(context: Context, metrics: Sequence[str]) -> None:
    """Checks what can be known before a picture is drawn.

    Raises:
      UserError: the evaluation lacks something that one of the metrics needs.
    """
    for module in map(find, metrics):
        if hasattr(module, "require"):
            module.require(context)


def measure_all(context: Context, metrics: Sequence[str]) -> list[Result]:
    """Results of several metrics, in their order; pictures are generated and read once for all.

    Args:
      context: has every reader of `readers_of(metrics, context.network)`.
      metrics: names.

    Raises:
      UserError: the evaluation lacks something that one of the metrics needs.
    """
    require_all(context, metrics)
    modules = [find(name) for name in metrics]
    context.want(readers_of(metrics, context.network))
    return [result for module in modules for result in module.measure(context)]
