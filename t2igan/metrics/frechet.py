"""Frechet distance between the features of generated and of real images, on any network.

Comparable only at equal numbers of images: the fewer, the larger. Its floor is beside it.

Reference: Heusel et al., arXiv:1706.08500.
"""

from __future__ import annotations

from t2igan.metrics.engine.context import Context
from t2igan.metrics.engine.frechet import distance
from t2igan.metrics.engine.result import Result

READERS = ("network",)
HEADLINE = ("frechet_{network}", "min")


def measure(context: Context) -> list[Result]:
    """`frechet_NETWORK`, lower is better."""
    return distance(context, f"frechet_{context.network}", context.network)
