"""Precision, recall, density and coverage: how two clouds of features lie within each other."""

from __future__ import annotations

import dataclasses

import numpy as np

from t2igan.metrics.statistics.neighbors import radii, squared_distances


@dataclasses.dataclass(frozen=True)
class Manifolds:
    """A value an image; the mean of each is the published number.

    Attributes:
      precision: [fakes] 1 where a fake lies within the real images' manifold.
      recall: [reals] 1 where a real image lies within the fakes' manifold.
      density: [fakes] number of real neighbourhoods that a fake lies in, over k.
      coverage: [reals] 1 where a real image's neighbourhood holds a fake.
    """

    precision: np.ndarray
    recall: np.ndarray
    density: np.ndarray
    coverage: np.ndarray


def manifolds(
    real: np.ndarray, fake: np.ndarray, *, manifold_k: int = 3, neighbourhood_k: int = 5
) -> Manifolds:
    """Returns the four measures, a value for each image.

    Args:
      real: [n, dim] features.
      fake: [m, dim] features.
      manifold_k: nearest neighbor that sets the radius for precision and recall, < n and m.
      neighbourhood_k: the same for density and coverage.

    Reference: Kynkaanniemi et al., arXiv:1904.06991, eqs. 1 and 2 (precision, recall);
    Naeem et al., arXiv:2002.09797, eqs. 2 and 3 (density, coverage).
    """
    wide, own = radii(real, manifold_k), radii(fake, manifold_k)
    near = radii(real, neighbourhood_k)
    precise, inside = np.zeros(len(fake), bool), np.zeros(len(fake))
    recalled, covered = np.zeros(len(real)), np.zeros(len(real))
    for rows, block in squared_distances(real, fake):
        precise |= np.any(block <= wide[rows, None], axis=0)
        inside += np.sum(block <= near[rows, None], axis=0)
        recalled[rows] = np.any(block <= own[None], axis=1)
        covered[rows] = np.any(block <= near[rows, None], axis=1)
    return Manifolds(precise.astype(np.float64), recalled, inside / neighbourhood_k, covered)
