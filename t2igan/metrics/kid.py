"""Kernel distance between the features of generated and of real images, on any network.

Unbiased: unlike the Frechet distance it does not grow as images become fewer. It forgives
repetition; read it beside the Frechet distance or coverage.

Reference: Binkowski et al., arXiv:1801.01401.
"""

from __future__ import annotations

import numpy as np

from t2igan.metrics.engine.context import Context
from t2igan.metrics.engine.result import Estimate, Result
from t2igan.metrics.statistics.bootstrap import interval
from t2igan.metrics.statistics.kernel_distance import (
    SUBSET_SIZE,
    SUBSETS,
    kernel_resamples,
    subset_kernel_distances,
)

READERS = ("network",)
HEADLINE = ("kid_{network}", "min")


def measure(context: Context) -> list[Result]:
    """`kid_NETWORK`: mean over 100 subsets, with its spread; lower is better."""
    sets = [context.image_set(name) for name in ("real", "fake", "other") if context.has(name)]
    # A subset of all images would be the same each time, and its spread nothing.
    size = min(SUBSET_SIZE, min(pictures.count for pictures in sets) // 2)

    name = f"kid_{context.network}"

    def estimate(real: np.ndarray, rows: np.ndarray) -> dict[str, Estimate]:
        values = subset_kernel_distances(real, rows, SUBSETS, size, context.seed)
        resamples = kernel_resamples(real, rows, context.resamples, context.seed)
        mean, spread = float(values.mean()), float(values.std())
        return {name: Estimate(mean, *interval(mean, resamples), {"spread": spread})}

    about = {"subsets": SUBSETS, "subset_size": size, "resamples": context.resamples}
    return context.against_real(name, estimate, reader=context.network, better="lower", **about)
