"""The squared maximum mean discrepancy of two clouds under a Gaussian kernel, as CMMD takes it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from t2igan.metrics.statistics.bootstrap import resampled_counts

_ROWS = 1024  # of a kernel that are held at a time


def discrepancy(x: np.ndarray, y: np.ndarray, width: float) -> float:
    """Returns the estimate with pairs of a row with itself, of least variance; >= 0.

    Args:
      x: [n, dim] rows.
      y: [m, dim] rows.
      width: sigma of exp(-|x - y|^2 / (2 sigma^2)).

    References: Gretton et al., JMLR 13 (2012), eq. 5; Jayasumana et al., arXiv:2401.09603, eq. 4.
    """
    return _mean(x, x, width) + _mean(y, y, width) - 2 * _mean(x, y, width)


def discrepancy_resamples(
    x: np.ndarray, y: np.ndarray, width: float, replicates: int, seed: int
) -> np.ndarray:
    """Returns [replicates] of the same between rows drawn again with replacement from each cloud.

    Args:
      x: [n, dim] rows.
      y: [m, dim] rows.
      width: sigma.
      replicates: how many resamples.
      seed: of the resamples.
    """
    if not replicates:
        return np.zeros(0)
    u = np.stack(list(resampled_counts(len(x), replicates, seed)), axis=1) / len(x)
    v = np.stack(list(resampled_counts(len(y), replicates, seed + 1)), axis=1) / len(y)
    within = _form(x, x, u, u, width) + _form(y, y, v, v, width)
    return within - 2 * _form(x, y, u, v, width)


def _mean(x: np.ndarray, y: np.ndarray, width: float) -> float:
    total = sum(float(kernel.sum()) for _, kernel in _kernels(x, y, width))
    return total / (len(x) * len(y))


def _form(x: np.ndarray, y: np.ndarray, u: np.ndarray, v: np.ndarray, width: float) -> np.ndarray:
    """[R] of u^T K v for each column of [n, R] and [m, R] weights."""
    total = np.zeros(u.shape[1])
    for rows, kernel in _kernels(x, y, width):
        total += np.sum(u[rows] * (kernel @ v), axis=0)
    return total


def _kernels(x: np.ndarray, y: np.ndarray, width: float) -> Iterator[tuple[slice, np.ndarray]]:
    """Yields slices of the rows of x, and the kernel of those with all of y."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    squares = np.sum(y * y, axis=1)
    for start in range(0, len(x), _ROWS):
        rows = slice(start, min(start + _ROWS, len(x)))
        part = x[rows]
        apart = np.sum(part * part, axis=1)[:, None] + squares[None] - 2 * part @ y.T
        yield rows, np.exp(apart / (-2 * width * width))
