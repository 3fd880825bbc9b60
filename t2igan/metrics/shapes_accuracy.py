"""Accuracy of the five attributes on rendered shapes, read by the oracle.

Each attribute by itself, and all that the caption names at once; on the split's captions, and on
compositions of shape and color that no training image shows.
"""

from __future__ import annotations

import numpy as np

from input_pipeline.errors import UserError
from input_pipeline.sources.shapes.attributes import NAMES
from t2igan.metrics.engine import image_sets
from t2igan.metrics.engine.context import Context
from t2igan.metrics.engine.matching import shuffled
from t2igan.metrics.engine.result import Estimate, Result
from t2igan.metrics.features.shapes_oracle import asked_attributes
from t2igan.metrics.statistics.bootstrap import mean_interval

READERS = ("shapes_oracle",)
HEADLINE = ("accuracy_all", "max")
HELD_OUT = "compositions"


def require(context: Context) -> None:
    """Raises a UserError where the captions name no attributes of shapes."""
    codes = context.image_set("fake").codes
    if codes is None or (asked_attributes(context.dataset.vocabulary, codes) < 0).all():
        raise UserError("shapes_accuracy reads rendered shapes: no caption here names one")


def measure(context: Context) -> list[Result]:
    """`accuracy_shape`, ..., `accuracy_all`, also with `_compositions`; higher is better."""
    fake = context.image_set("fake")
    asked = asked_attributes(context.dataset.vocabulary, fake.codes)
    references = {}
    if fake.partners is not None:
        for label, population in (("real", "real"), ("blurred", "real_blurred")):
            references[label] = _right(context, population, asked)
    references["shuffled"] = _right(context, "fake", asked[shuffled(np.arange(len(asked)))])
    about = context.provenance("shapes_oracle", "real")
    results = _results(context, "", _right(context, "fake", asked), references, about)
    return results + _held_out(context)


def _held_out(context: Context) -> list[Result]:
    """The same on captions of the split `compositions`, where there is one and a model to draw."""
    dataset, generate = context.dataset, context.generate
    if dataset is None or generate is None or HELD_OUT not in dataset.splits:
        return []
    if context.image_set("fake").about.get("caption_split") == HELD_OUT:
        return []
    real = image_sets.of_split(dataset, HELD_OUT, HELD_OUT, seed=context.seed)
    context.sets[HELD_OUT] = real
    context.sets["fake/" + HELD_OUT] = image_sets.generated(real, generate, {})
    asked = asked_attributes(context.dataset.vocabulary, real.codes)
    found = {
        label: _right(context, population, asked, paired=False)
        for label, population in (("fake", "fake/" + HELD_OUT), ("real", HELD_OUT))
    }
    about = context.provenance("shapes_oracle", HELD_OUT, caption_split=HELD_OUT)
    about["pictures"]["fake"] = real.count
    return _results(context, "_" + HELD_OUT, found.pop("fake"), found, about)


def _right(
    context: Context, population: str, asked: np.ndarray, *, paired: bool = True
) -> dict[str, np.ndarray]:
    """Right or wrong, a value for each image whose caption names the attribute."""
    real = population.startswith("real") and paired
    rows = context.paired_rows if real else context.rows
    shown = np.asarray(rows(population, "shapes_oracle"))
    named, right = asked >= 0, shown == asked
    values = {name: right[named[:, i], i] for i, name in enumerate(NAMES)}
    values["all"] = np.all(right | ~named, axis=1)
    return values


def _results(
    context: Context,
    suffix: str,
    values: dict[str, np.ndarray],
    references: dict[str, dict[str, np.ndarray]],
    about: dict[str, object],
) -> list[Result]:
    def estimate(right: np.ndarray) -> Estimate:
        if not len(right):
            return Estimate(float("nan"))
        return Estimate(float(right.mean()), *mean_interval(right, context.seed))

    return [
        Result(
            f"accuracy_{name}{suffix}",
            estimate(right),
            "higher",
            {label: estimate(found[name]) for label, found in references.items()},
            about,
        )
        for name, right in values.items()
        if len(right)
    ]
