"""Mean and covariance of rows that come in batches, in float64."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


class Moments:
    """Running count, mean and scatter of rows; memory does not grow with their number.

    Any split into batches gives the same numbers to rounding, so that a short last batch, and
    shares gathered by several devices or machines, count as they should.

    Reference: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing
    sample variances", 1979, eq. 2.1.
    """

    def __init__(self, dim: int) -> None:
        self.count = 0
        self.mean = np.zeros(dim)
        self.scatter = np.zeros((dim, dim))

    def update(self, rows: np.ndarray) -> None:
        """Takes in [n, dim] rows, n >= 0."""
        if not len(rows):
            return
        rows = np.asarray(rows, np.float64)
        mean = rows.mean(axis=0)
        centred = rows - mean
        self._join(len(rows), mean, centred.T @ centred)

    def merge(self, other: Moments) -> None:
        """Takes in the rows that another has seen."""
        if other.count:
            self._join(other.count, other.mean, other.scatter)

    def covariance(self) -> np.ndarray:
        """Returns [dim, dim] unbiased covariance; zeros below two rows."""
        return self.scatter / max(self.count - 1, 1)

    def _join(self, count: int, mean: np.ndarray, scatter: np.ndarray) -> None:
        total = self.count + count
        step = mean - self.mean
        self.scatter += scatter
        self.scatter += np.outer(step, step) * (self.count * count / total)
        self.mean = self.mean + step * (count / total)
        self.count = total


def moments(batches: Iterable[np.ndarray], dim: int) -> Moments:
    """Moments of all rows of all batches."""
    total = Moments(dim)
    for rows in batches:
        total.update(rows)
    return total


def moments_of(rows: np.ndarray, block: int = 2048) -> Moments:
    """Moments of [n, dim] rows, also of those that lie on disk: read a block at a time."""
    blocks = (rows[start : start + block] for start in range(0, len(rows), block))
    return moments(blocks, rows.shape[1])
