"""Bootstrap intervals by resampling rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

REPLICATES = 1000
LEVEL = 0.95


def resampled_counts(rows: int, replicates: int, seed: int) -> Iterator[np.ndarray]:
    """Yields how often each of `rows` rows is drawn, in each of `replicates` draws with
    replacement.
    """
    random = np.random.default_rng(seed)
    for _ in range(replicates):
        yield np.bincount(random.integers(0, rows, rows), minlength=rows)


def interval(estimate: float, resamples: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """Returns the estimate plus the middle `level` of the resamples' deviations from their own
    mean.

    Distances between clouds grow when rows repeat, so that plain percentiles would lie above the
    estimate; this keeps their width and asymmetry. It says how the number at this count of
    images varies, not what it would be with infinitely many.

    Args:
      estimate: from all rows.
      resamples: [R] the same number from resampled rows.
      level: share of resamples within, in (0, 1).
    """
    if not len(resamples):
        return float("nan"), float("nan")
    tail = (1 - level) / 2
    low, high = np.quantile(resamples - np.mean(resamples), [tail, 1 - tail])
    return float(estimate + low), float(estimate + high)


def mean_interval(
    values: np.ndarray, seed: int, replicates: int = REPLICATES
) -> tuple[float, float]:
    """Interval of the mean of [n] values, one an image: plain percentiles."""
    values = np.asarray(values, np.float64)
    counts = resampled_counts(len(values), replicates, seed)
    means = np.array([count @ values / len(values) for count in counts])
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)
