"""Names of earlier versions that runs, sweeps, configs and command lines may still use.

Former names of config fields stand beside the fields, in configs/common.py.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from t2igan.config.files import table

RECIPES = {
    "caption_contrast": "contrastive",
    "matching_hinge": "dfgan",
    "projected": "projected_gan",
    "relativistic": "r3gan",
    "stackgan2": "stackgan_stage2",
}
# Former names, and the names under which metrics are reported; there also with "_lite0".
METRICS = {
    "memorisation": "memorization",
    "copying": "memorization",
    "swd": "sliced_wasserstein",
    "precision": "prdc",
    "recall": "prdc",
    "density": "prdc",
    "coverage": "prdc",
    "feature_gap": "text_gap",
    "text_variance": "variance",
    "noise_variance": "variance",
    "diversity": "variance",
}
_FAMILIES = {
    "swd_": "sliced_wasserstein",
    "diversity_": "variance",
    "text_variance_": "variance",
    "noise_variance_": "variance",
    "caption_recall_at_": "caption_recall",
    "accuracy_": "shapes_accuracy",
}
# In metrics.jsonl, there also after "validation/".
LOGGED = {
    "logits/wrong": "logits/mismatched",
    "loss/downscaling": "loss/consistency",
    "loss/enlarging": "loss/reconstruction",
}


@functools.cache
def former_fields() -> dict[str, str]:
    """Returns today's name by former name of the fields that were renamed."""
    return {field.former: name for name, field in table().items() if field.former}


def field(name: str) -> str:
    """Returns today's name of a config field."""
    return former_fields().get(name, name)


def metric(name: str) -> str:
    """Returns the metric of a name: its own, a former one, or one under which it is reported."""
    short = name.removesuffix("_lite0")
    for beginning, family in _FAMILIES.items():
        if short.startswith(beginning):
            return family
    return METRICS.get(name, METRICS.get(short, short))


def value(name: str, value: Any) -> Any:
    """Returns today's value of a config field, by its name of today."""
    if not isinstance(value, str):
        return value
    if name == "checkpoint.best_metric":
        return logged(value)
    return RECIPES.get(value, value) if name == "recipe" else value


def logged(name: str) -> str:
    """Returns today's name of a number in metrics.jsonl."""
    prefix = "validation/" if name.startswith("validation/") else ""
    rest = name.removeprefix(prefix)
    return prefix + LOGGED.get(rest, rest)


def upgrade(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a nested config with today's names of fields and recipes.

    Args:
      values: as JSON holds them: groups of fields; a field that has both names keeps today's.
    """
    new = {
        key: dict(inner) if isinstance(inner, Mapping) else inner for key, inner in values.items()
    }
    for old_name, new_name in former_fields().items():
        group, _, old = old_name.partition(".")
        fields = new.get(group)
        if isinstance(fields, dict) and old in fields:
            fields.setdefault(new_name.partition(".")[2], fields.pop(old))
    if "recipe" in new:
        new["recipe"] = value("recipe", new["recipe"])
    checkpoint = new.get("checkpoint")
    if isinstance(checkpoint, dict) and "best_metric" in checkpoint:
        best = checkpoint["best_metric"]
        checkpoint["best_metric"] = value("checkpoint.best_metric", best)
    return new
