"""Use of the text: a metric with the right captions less the same with shuffled ones.

A model that ignores its text shows no gap, however good its images are.
"""

from __future__ import annotations

import numpy as np

from input_pipeline.errors import UserError
from t2igan.metrics.engine.context import Context
from t2igan.metrics.engine.matching import hits, matcher_of, references_of, shuffled
from t2igan.metrics.engine.result import Estimate, Result
from t2igan.metrics.statistics.bootstrap import mean_interval

READERS = ("network", "lite0")
HEADLINE = ("feature_gap_{network}", "max")


def require(context: Context) -> None:
    """Raises a UserError where the captions belong to no images of a data set."""
    if context.image_set("fake").partners is None:
        raise UserError("the images have no captions of a data set: leave out text_gap")


def measure(context: Context) -> list[Result]:
    """`feature_gap_NETWORK`, and with a matcher `text_gap`; higher is better."""
    results = [_feature_gap(context)]
    if context.matcher is not None:
        about = context.provenance("lite0", "real", **matcher_of(context).provenance)
        estimate = _text_gap(context, "fake")
        references = references_of(context, "text_gap", _text_gap)
        results.append(Result("text_gap", estimate, "higher", references, about))
    return results


def _text_gap(context: Context, population: str) -> Estimate:
    """R-precision less R-precision with shuffled captions."""
    own, other = hits(context, population), hits(context, population, own=False)
    details = {"right": float(own.mean()), "shuffled": float(other.mean())}
    gap = own - other
    return Estimate(float(gap.mean()), *mean_interval(gap, context.seed), details)


def _feature_gap(context: Context) -> Result:
    """How much more a fake is like the real image of its caption than like another's.

    Cosines of features less their mean: of two images at random 0 on average.
    """
    fake = context.image_set("fake")
    name = f"feature_gap_{context.network}"
    real = np.asarray(context.rows("real", context.network), np.float64)
    centre = real.mean(axis=0)
    real = _unit(real - centre)
    mine = _unit(np.asarray(context.rows("fake", context.network), np.float64) - centre)
    own = np.sum(mine * real[fake.partners], axis=1)
    other = np.sum(mine * real[fake.partners[shuffled(fake.partners)]], axis=1)
    details = {"right": float(own.mean()), "shuffled": float(other.mean())}
    gap = own - other
    estimate = Estimate(float(gap.mean()), *mean_interval(gap, context.seed), details)
    return Result(name, estimate, "higher", {}, context.provenance(context.network, "real"))


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
