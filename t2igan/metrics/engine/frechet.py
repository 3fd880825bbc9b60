"""The Frechet distance between image sets, and the count that FID-30k asks for.

Reference: Heusel et al., arXiv:1706.08500.
"""

from __future__ import annotations

import numpy as np

from input_pipeline.errors import UserError
from t2igan.metrics.engine.context import Context
from t2igan.metrics.engine.result import Estimate, Result
from t2igan.metrics.statistics.bootstrap import interval
from t2igan.metrics.statistics.frechet_distance import frechet_distance, frechet_resamples
from t2igan.metrics.statistics.moments import moments_of

FAKES_30K = 30_000


def distance(context: Context, metric: str, reader: str, **more: object) -> list[Result]:
    """Returns the Frechet distance on a reader's rows under a metric's name."""

    def estimate(real: np.ndarray, rows: np.ndarray) -> dict[str, Estimate]:
        value = frechet_distance(moments_of(real), moments_of(rows))
        resamples = frechet_resamples(real, rows, context.resamples, context.seed)
        return {metric: Estimate(value, *interval(value, resamples))}

    more = {"resamples": context.resamples, **more}
    return context.against_real(metric, estimate, reader=reader, better="lower", **more)


def require_fakes(context: Context, metric: str) -> None:
    """Checks that there are as many fakes as the protocol has."""
    count = context.image_set("fake").count
    if count != FAKES_30K:
        raise UserError(
            f"{metric} is defined on {FAKES_30K} generated images, not {count}: give "
            f"--num={FAKES_30K}, or take the metric frechet, which says its number"
        )
