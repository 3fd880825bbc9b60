"""Frechet distance between the features of generated and of real pictures, on any network.

Comparable only at equal numbers of pictures: the fewer, the larger. Its floor is beside it.

Reference: Heusel et al., arXiv:1706.08500.
"""

from __future__ import annotations

import numpy as np

from t2igan.metrics.context import Context
from t2igan.metrics.result import Estimate, Result
from t2igan.metrics.statistics.bootstrap import interval
from t2igan.metrics.statistics.frechet_distance import frechet_distance, frechet_resamples
from t2igan.metrics.statistics.moments import moments_of

READERS = ("network",)


def measure(context: Context) -> list[Result]:
    """`frechet_NETWORK`, lower is better."""
    return distance(context, f"frechet_{context.network}", context.network)


def distance(context: Context, metric: str, reader: str, **more: object) -> list[Result]:
    """The Frechet distance on a reader's rows under a metric's name."""

    def estimate(real: np.ndarray, rows: np.ndarray) -> dict[str, Estimate]:
        value = frechet_distance(moments_of(real), moments_of(rows))
        resamples = frechet_resamples(real, rows, context.resamples, context.seed)
        return {metric: Estimate(value, *interval(value, resamples))}

    more = {"resamples": context.resamples, **more}
    return context.against_real(metric, estimate, reader=reader, better="lower", **more)
