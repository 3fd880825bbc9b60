"""Which checkpoint of a run is the best: by what the config says, or by what it asks to measure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from input_pipeline.errors import UserError, did_you_mean
from t2igan.metrics.engine import registry, shipped

if TYPE_CHECKING:
    from ml_collections import ConfigDict

_MEASURED = "validation/"
_LOSSES = ("validation/loss/", "validation/logits/")


def best_by(config: ConfigDict) -> tuple[str, str]:
    """Returns the metric of metrics.jsonl that ranks a run's checkpoints, and "min" or "max" of it.

    `config.checkpoint.best_metric` where it is given, else the first of `config.evaluate.metrics`.
    Without either the name is empty: then the latest checkpoint is the best. A loss is never
    chosen by itself: those of two networks that play against each other say nothing of images.

    Raises:
      UserError: one of these metrics is not there.
    """
    given, mode = config.checkpoint.best_metric, config.checkpoint.best_mode
    evaluate = config.get("evaluate") or {}
    metrics = registry.listed(evaluate.get("metrics") or "")
    if given:
        _check(given, metrics, evaluate.get("features") or "lite0")
        return given, mode
    headlines = (registry.headline(name, evaluate.features) for name in metrics[:1])
    name, mode = next(filter(None, headlines), ("", "min"))
    return (_MEASURED + name if name else ""), mode


def _check(given: str, metrics: list[str], network: str) -> None:
    """Refuses a measured metric that none of `config.evaluate.metrics` gives.

    A metric may give more than what it is ranked by: of those the run itself says, once it has
    measured, if there is none of that name.
    """
    if not given.startswith(_MEASURED) or given.startswith(_LOSSES):
        return
    names = [
        _MEASURED + found[0] for name in metrics if (found := registry.headline(name, network))
    ]
    if given in names:
        return
    others = [registry.headline(name, network) for name in shipped.names() if name not in metrics]
    is_unmeasured = not metrics or given in [_MEASURED + found[0] for found in others if found]
    hint = did_you_mean(given, names, cutoff=0.9)
    if is_unmeasured or hint:
        have = f"gives {', '.join(names)}" if names else "is empty"
        raise UserError(
            f"config.checkpoint.best_metric={given!r} is no metric of this run{hint}: "
            f"evaluate.metrics {have}; leave it empty for the first of them"
        )
