"""CMMD: the discrepancy of CLIP's embeddings of generated and of real images.

ViT-L/14 at 336 pixels, embeddings of length 1, a Gaussian kernel of width 10, times 1,000. No
distribution is assumed, and few images serve. Needs `--weights=FILE` with CLIP's.

Reference: Jayasumana et al., arXiv:2401.09603.
"""

from __future__ import annotations

import numpy as np

from t2igan.backbones.clip import unit
from t2igan.metrics.engine.context import Context
from t2igan.metrics.engine.result import Estimate, Result
from t2igan.metrics.statistics.bootstrap import interval
from t2igan.metrics.statistics.gaussian_discrepancy import discrepancy, discrepancy_resamples

NETWORK = "clip_vitl14_336"
READERS = (NETWORK,)
HEADLINE = ("cmmd", "min")
WIDTH, SCALE = 10.0, 1000.0


def measure(context: Context) -> list[Result]:
    """`cmmd`, lower is better."""

    def estimate(real: np.ndarray, rows: np.ndarray) -> dict[str, Estimate]:
        real, rows = unit(real), unit(rows)
        value = SCALE * discrepancy(real, rows, WIDTH)
        resamples = SCALE * discrepancy_resamples(
            real, rows, WIDTH, context.resamples, context.seed
        )
        return {"cmmd": Estimate(value, *interval(value, resamples))}

    about = {"kernel": f"Gaussian, width {WIDTH:g}", "resamples": context.resamples}
    return context.against_real("cmmd", estimate, reader=NETWORK, better="lower", **about)
