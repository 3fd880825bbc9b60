"""FD-DINOv2: the Frechet distance on DINOv2's ViT-L/14, which knows no classes of ImageNet.

Comparable only at equal numbers of images; published are 50,000. `--metrics=frechet
--features=dinov2_vitb14` takes the smaller network. Needs `--weights=FILE` with DINOv2's.

Reference: Stein et al., arXiv:2306.04675.
"""

from __future__ import annotations

from t2igan.metrics.engine.context import Context
from t2igan.metrics.engine.frechet import distance
from t2igan.metrics.engine.result import Result

NETWORK = "dinov2_vitl14"
READERS = (NETWORK,)
HEADLINE = ("fd_dinov2", "min")


def measure(context: Context) -> list[Result]:
    """`fd_dinov2`, lower is better."""
    return distance(context, "fd_dinov2", NETWORK)
