"""Precision, recall, density and coverage of generated images, on any feature network.

Precision and density say how real the images are, recall and coverage how varied.

References: Kynkaanniemi et al., arXiv:1904.06991; Naeem et al., arXiv:2002.09797.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from t2igan.metrics.engine.context import Context
from t2igan.metrics.engine.result import Estimate, Result
from t2igan.metrics.statistics.bootstrap import mean_interval
from t2igan.metrics.statistics.manifolds import manifolds

READERS = ("network",)
HEADLINE = ("coverage_{network}", "max")
MOST = 10_000  # rows of each image set: as published, and what keeps the time in minutes
MANIFOLD_K, NEIGHBOURHOOD_K = 3, 5


def measure(context: Context) -> list[Result]:
    """`precision_NETWORK`, `recall_`, `density_`, `coverage_`; higher is better."""

    def estimates(real: np.ndarray, rows: np.ndarray) -> dict[str, Estimate]:
        found = manifolds(
            real[:MOST], rows[:MOST], manifold_k=MANIFOLD_K, neighbourhood_k=NEIGHBOURHOOD_K
        )
        return {
            f"{name}_{context.network}": Estimate(
                float(values.mean()), *mean_interval(values, context.seed)
            )
            for name, values in dataclasses.asdict(found).items()
        }

    about = {"k": {"precision, recall": MANIFOLD_K, "density, coverage": NEIGHBOURHOOD_K}}
    return context.against_real(
        "prdc", estimates, reader=context.network, better="higher", most_pictures=MOST, **about
    )
