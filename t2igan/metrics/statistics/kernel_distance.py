"""KID: the squared maximum mean discrepancy between two clouds of features, without bias."""

from __future__ import annotations

import numpy as np

SUBSETS = 100
SUBSET_SIZE = 1000
BLOCK = 2000


def polynomial_kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns [n, m] values of (x . y / dim + 1)^3, in float64.

    Reference: Binkowski et al., arXiv:1801.01401, section 4.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    return (x @ y.T / x.shape[1] + 1.0) ** 3


def kernel_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Unbiased squared discrepancy of [n, dim] and [m, dim] rows; may be below 0.

    Reference: Gretton et al., JMLR 13 (2012), eq. 3.
    """
    ones = np.ones(len(x)), np.ones(len(y))
    return float(_discrepancy(*_kernels(x, y), *ones))


def subset_kernel_distances(
    x: np.ndarray, y: np.ndarray, subsets: int, size: int, seed: int
) -> np.ndarray:
    """Returns [subsets] unbiased distances, each between `size` rows of either cloud.

    Their mean is the KID as published, their standard deviation its spread.

    Args:
      x: [n, dim] features, n >= size.
      y: [m, dim] features, m >= size.
      subsets: how many.
      size: rows in each, drawn without replacement, >= 2.
      seed: of the draws.
    """
    random = np.random.default_rng(seed)
    values = []
    for _ in range(subsets):
        mine = np.sort(random.choice(len(x), size, replace=False))
        theirs = np.sort(random.choice(len(y), size, replace=False))
        values.append(kernel_distance(x[mine], y[theirs]))
    return np.array(values)


def kernel_resamples(x: np.ndarray, y: np.ndarray, replicates: int, seed: int) -> np.ndarray:
    """Returns [replicates] distances with rows drawn again with replacement.

    Rows are compared within blocks of at most 2,000 of each cloud and the blocks averaged, so that
    time grows with the number of rows and memory not at all; pairs of one row with itself are
    left out, as in the unbiased distance.
    """
    random = np.random.default_rng(seed)
    count = min(len(x), len(y))
    blocks = -(-count // BLOCK)
    total = np.zeros(replicates)
    for part in np.array_split(np.arange(count), blocks):
        kernels = _kernels(x[part], y[part])
        for r in range(replicates):
            u, v = (
                np.bincount(random.integers(0, len(part), len(part)), minlength=len(part))
                for _ in range(2)
            )
            total[r] += _discrepancy(*kernels, u.astype(np.float64), v.astype(np.float64))
    return total / blocks


def _kernels(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return polynomial_kernel(x, x), polynomial_kernel(y, y), polynomial_kernel(x, y)


def _discrepancy(
    within_x: np.ndarray, within_y: np.ndarray, across: np.ndarray, u: np.ndarray, v: np.ndarray
) -> float:
    """The distance with row weights u and v, pairs of a row with itself left out."""
    cross = (u @ across @ v) / (u.sum() * v.sum())
    return _pairs(within_x, u) + _pairs(within_y, v) - 2 * cross


def _pairs(kernel: np.ndarray, weights: np.ndarray) -> float:
    squared = weights * weights
    pairs = weights.sum() ** 2 - squared.sum()
    return (weights @ kernel @ weights - squared @ np.diagonal(kernel)) / pairs
