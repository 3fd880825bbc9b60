"""The share of a set's variance that a linear model of something else leaves unexplained."""

from __future__ import annotations

import numpy as np

PENALTIES = tuple(10.0**power for power in range(-3, 6))
FOLDS = 5


def unexplained_share(inputs: np.ndarray, outputs: np.ndarray, seed: int = 0) -> float:
    """Returns the share of the outputs' variance that ridge regression does not predict.

    Predicted for rows that the regression has not seen, in five folds; of the penalties the one
    that predicts best is taken. A linear model explains less than all that could be explained:
    the share is an upper bound of what the inputs leave open.

    Args:
      inputs: [n, i] what is known of each row.
      outputs: [n, o] what is predicted, n at least 10.
      seed: of the folds.

    Returns:
      Share in [0, 1]; 1 where nothing is predicted, nan where the outputs do not vary.

    Reference: Hoerl and Kennard, "Ridge Regression", Technometrics 12, 1970.
    """
    x, y = np.asarray(inputs, np.float64), np.asarray(outputs, np.float64)
    fold = np.random.default_rng(seed).permutation(len(x)) % FOLDS
    errors, total = np.zeros(len(PENALTIES)), 0.0
    for held_out in range(FOLDS):
        seen, unseen = fold != held_out, fold == held_out
        x_mean, y_mean = x[seen].mean(0), y[seen].mean(0)
        left, scales, right = np.linalg.svd(x[seen] - x_mean, full_matrices=False)
        targets, known = left.T @ (y[seen] - y_mean), (x[unseen] - x_mean) @ right.T
        total += np.sum((y[unseen] - y_mean) ** 2)
        for i, penalty in enumerate(PENALTIES):
            weights = scales / (scales**2 + penalty)
            predicted = y_mean + (known * weights) @ targets
            errors[i] += np.sum((y[unseen] - predicted) ** 2)
    return float(min(1.0, errors.min() / total)) if total > 0 else float("nan")
