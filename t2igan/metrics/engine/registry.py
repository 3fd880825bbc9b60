"""Metrics by name: the files of t2igan/metrics, and modules of other packages."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from types import ModuleType

from input_pipeline.errors import UserError, did_you_mean
from input_pipeline.extensions import import_extension, is_extension
from t2igan.config import aliases
from t2igan.metrics.engine.context import Context
from t2igan.metrics.engine.result import Result
from t2igan.metrics.engine.shipped import names


def check(name: str) -> None:
    """Refuses a name that is neither a metric nor a dotted module; imports nothing.

    Raises:
      UserError: there is no metric of that name.
    """
    known = names()
    if name not in known and not is_extension(name):
        raise UserError(
            f"no metric is called {name!r}{did_you_mean(name, known)}: choose of "
            f"{', '.join(known)}, or name a module of your own: my_pkg.metric"
        )


def listed(text: str) -> list[str]:
    """Returns the names of a comma-separated list, each once, under today's names.

    Raises:
      UserError: there is no metric of one of the names.
    """
    given = [name.strip() for name in text.split(",") if name.strip()]
    today = [aliases.metric(name) for name in given]
    for name in today:
        check(name)
    return list(dict.fromkeys(today))


def find(name: str) -> ModuleType:
    """Returns the module of a metric: `READERS` and `measure(context) -> list[Result]`.

    One that is defined on certain evaluations only has `require(context)`, which raises otherwise.

    Raises:
      UserError: there is no such metric.
    """
    check(name)
    if is_extension(name):
        return import_extension(name, "measure", f"--metrics={name}")
    return importlib.import_module(f"t2igan.metrics.{name}")


def headline(name: str, network: str) -> tuple[str, str] | None:
    """Returns the result of a metric that checkpoints are ranked by, and "min" or "max" of it.

    `HEADLINE` of its module says it; None where a module of your own has none.
    """
    found = getattr(find(name), "HEADLINE", None)
    return (found[0].format(network=network), found[1]) if found else None


def readers_of(metrics: Sequence[str], network: str) -> list[str]:
    """Returns the names of the feature networks and oracles that the metrics read images with.

    `READERS` of a metric lists them; `network` in it stands for the one chosen.
    """
    readers = [reader for name in metrics for reader in getattr(find(name), "READERS", ())]
    return sorted({network if reader == "network" else reader for reader in readers})


def require_all(context: Context, metrics: Sequence[str]) -> None:
    """Checks what can be known before an image is generated.

    Raises:
      UserError: the evaluation lacks something that one of the metrics needs.
    """
    for module in map(find, metrics):
        if hasattr(module, "require"):
            module.require(context)


def measure_all(context: Context, metrics: Sequence[str]) -> list[Result]:
    """Returns the results of several metrics, in their order.

    Images are generated and read once for all of them.

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
