"""Inception score: sure of each image, varied over all; on any network with classes.

It never looks at real images, so a model may score above them.

Reference: Salimans et al., arXiv:1606.03498.
"""

from __future__ import annotations

import functools

from t2igan.metrics.engine.context import Context
from t2igan.metrics.engine.result import Estimate, Result
from t2igan.metrics.statistics.bootstrap import interval
from t2igan.metrics.statistics.inception_score import (
    class_probabilities,
    inception_score,
    inception_score_resamples,
)

READERS = ("network",)
HEADLINE = ("inception_score_{network}", "max")
SPLITS = 10


def measure(context: Context) -> list[Result]:
    """`inception_score_NETWORK`: mean over 10 splits, with its spread; higher is better."""
    name = f"inception_score_{context.network}"
    references = {}
    for label, image_set in (("real", "real"), ("blurred", "real_blurred")):
        if context.has(image_set):
            make = functools.partial(_named, name, context, image_set)
            references[label] = context.reference(f"{name}/{label}", make)[name]
    about = context.provenance(context.network, "real", splits=SPLITS, resamples=context.resamples)
    return [Result(name, _score(context, "fake"), "higher", references, about)]


def _named(name: str, context: Context, image_set: str) -> dict[str, Estimate]:
    return {name: _score(context, image_set)}


def _score(context: Context, population: str) -> Estimate:
    rows = context.rows(population, context.network)
    probabilities = class_probabilities(context.readers[context.network].logits(rows))
    scores = inception_score(probabilities, SPLITS)
    value, spread = float(scores.mean()), float(scores.std())
    resamples = inception_score_resamples(probabilities, context.resamples, context.seed, SPLITS)
    return Estimate(value, *interval(value, resamples), {"spread": spread})
