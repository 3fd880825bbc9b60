"""The sliced Wasserstein distance between two sets of points."""

from __future__ import annotations

import numpy as np

DIRECTIONS, REPEATS = 128, 4


def sliced_wasserstein_distances(
    points: np.ndarray,
    others: np.ndarray,
    seed: int,
    repeats: int = REPEATS,
    directions: int = DIRECTIONS,
) -> np.ndarray:
    """Returns [repeats] means over random directions of the mean distance between sorted
    projections.

    Args:
      points: [n, dim].
      others: [n, dim], as many.
      seed: of the directions.
      repeats: how often directions are drawn.
      directions: in each repeat.

    Raises:
      ValueError: the clouds differ in shape.

    Reference: Rabin et al. 2011; so many directions, Karras et al. 2018, section 5,
      arXiv:1710.10196.
    """
    if points.shape != others.shape:
        raise ValueError(f"as many points of as many numbers: {points.shape}, {others.shape}")
    random = np.random.default_rng(seed)
    return np.array([_one(points, others, random, directions) for _ in range(repeats)])


def _one(
    points: np.ndarray, others: np.ndarray, random: np.random.Generator, directions: int
) -> float:
    lines = random.standard_normal((points.shape[1], directions)).astype(np.float32)
    lines /= np.sqrt(np.square(lines).sum(axis=0))
    first, second = (np.sort((cloud @ lines).T, axis=1) for cloud in (points, others))
    return float(np.abs(first - second).mean(dtype=np.float64))
