"""Distance between small patches of generated and of real images, scale by scale.

No network: a model that has learned by one, or from one, is not favoured. Blind to what is larger
than a patch, such as what an image shows; read it beside the Frechet distance.

Reference: Karras et al. 2018, section 5, arXiv:1710.10196; numbers are a thousand times the
distance, as there, of fewer patches.
"""

from __future__ import annotations

import numpy as np

from t2igan.metrics.engine.context import Context
from t2igan.metrics.engine.result import Estimate, Result
from t2igan.metrics.features import patches
from t2igan.metrics.statistics.sliced_wasserstein_distance import (
    DIRECTIONS,
    REPEATS,
    sliced_wasserstein_distances,
)

READERS = (patches.NAME,)
HEADLINE = ("swd", "min")


def measure(context: Context) -> list[Result]:
    """`swd_64`, `swd_32`, `swd_16` of images of 64 pixels, and `swd`, their mean."""
    reader = context.readers[patches.NAME]
    sets = [context.image_set(name) for name in ("real", "fake", "other") if context.has(name)]
    count = min(pictures.count for pictures in sets)  # sorted points are compared one to one

    def estimate(real: np.ndarray, rows: np.ndarray) -> dict[str, Estimate]:
        pairs = zip(
            reader.levels(real[:count]).items(), reader.levels(rows[:count]).values(), strict=True
        )
        by_scale = {
            size: 1000 * _distances(level, other, context.seed) for (size, level), other in pairs
        }
        found = {"swd": _estimate(np.mean(list(by_scale.values()), axis=0))}
        return found | {f"swd_{size}": _estimate(values) for size, values in by_scale.items()}

    about = {"compared": count, "directions": REPEATS * DIRECTIONS}
    return context.against_real("swd", estimate, reader=reader.name, better="lower", **about)


def _distances(real: np.ndarray, others: np.ndarray, seed: int) -> np.ndarray:
    return sliced_wasserstein_distances(_normalised(real), _normalised(others), seed)


def _normalised(points: np.ndarray) -> np.ndarray:
    """Each color with mean 0 and deviation 1 over all patches, as in the reference."""
    colors = np.asarray(points, np.float32).reshape(len(points), -1, 3)
    mean, deviation = colors.mean(axis=(0, 1)), colors.std(axis=(0, 1))
    return ((colors - mean) / np.maximum(deviation, 1e-8)).reshape(points.shape)


def _estimate(values: np.ndarray) -> Estimate:
    return Estimate(float(values.mean()), details={"spread": float(values.std())})
