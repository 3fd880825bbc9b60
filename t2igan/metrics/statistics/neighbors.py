"""Nearest rows, block by block: memory does not grow with the product of the two counts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

BLOCK = 1024


def squared_distances(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Yields (rows, [block, m] squared distances of those rows of x to all of y), in float64.

    Args:
      x: [n, dim] features.
      y: [m, dim] features.
    """
    centre = np.mean(y, axis=0, dtype=np.float64)
    columns = [slice(start, start + BLOCK) for start in range(0, len(y), BLOCK)]
    for start in range(0, len(x), BLOCK):
        rows = slice(start, start + BLOCK)
        part = x[rows] - centre
        norms = np.sum(part * part, axis=1)
        block = np.empty((len(part), len(y)))
        for column in columns:
            other = y[column] - centre
            block[:, column] = part @ other.T
            block[:, column] *= -2
            block[:, column] += np.sum(other * other, axis=1)[None]
        block += norms[:, None]
        yield rows, np.maximum(block, 0.0, out=block)


def radii(x: np.ndarray, k: int) -> np.ndarray:
    """Returns [n] squared distance of each row to the k-th nearest of the others, 1 <= k < n."""
    found = np.empty(len(x))
    for rows, block in squared_distances(x, x):
        at = np.arange(len(block))
        block[at, at + rows.start] = -1.0  # The row itself comes first, whatever the rounding.
        found[rows] = np.partition(block, k, axis=1)[:, k]
    return found


def nearest(queries: np.ndarray, base: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance of each query to its nearest base row, and that row's index.

    Args:
      queries: [n, dim] features.
      base: [m, dim] features, m >= 1.
    """
    distances, indices = np.empty(len(queries)), np.empty(len(queries), np.int64)
    for rows, block in squared_distances(queries, base):
        indices[rows] = np.argmin(block, axis=1)
        distances[rows] = np.sqrt(np.min(block, axis=1))
    return distances, indices


def share_nearer(mine: np.ndarray, theirs: np.ndarray) -> float:
    """Probability that one of `mine` is smaller than one of `theirs`; ties count half.

    For distances to the training images, of generated and of held-out real images: 0.5 where
    the generator copies no more than chance, towards 1 where it copies.

    Reference: the Mann-Whitney statistic as in Meehan et al., arXiv:2004.05675, section 3.
    """
    ordered = np.sort(theirs)
    below = np.searchsorted(ordered, mine, side="left")
    upto = np.searchsorted(ordered, mine, side="right")
    return float(1 - np.mean((below + upto) / 2) / len(theirs))
