"""The inception score of class probabilities."""

from __future__ import annotations

import itertools

import numpy as np

from t2igan.metrics.statistics.bootstrap import resampled_counts


def class_probabilities(logits: np.ndarray) -> np.ndarray:
    """Returns [n, classes] probabilities in float64."""
    logits = np.asarray(logits, np.float64)
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def inception_score(probabilities: np.ndarray, splits: int = 10) -> np.ndarray:
    """Returns [splits] values of exp(mean KL(p(y|x) || p(y))), between 1 and the number of classes.

    Args:
      probabilities: [n, classes], n >= splits; split in their order.
      splits: parts that are scored by themselves; the mean over them is the published number.

    Reference: Salimans et al., arXiv:1606.03498, section 4.
    """
    parts = _parts(probabilities, splits)
    return np.array([_score(part, np.full(len(part), 1 / len(part))) for part in parts])


def inception_score_resamples(
    probabilities: np.ndarray, replicates: int, seed: int, splits: int = 10
) -> np.ndarray:
    """Returns [replicates] mean scores over the splits, of images resampled with replacement."""
    parts = _parts(probabilities, splits)
    total = np.zeros(replicates)
    for i, part in enumerate(parts):
        for r, counts in enumerate(resampled_counts(len(part), replicates, seed + i)):
            total[r] += _score(part, counts / len(part))
    return total / splits


def _parts(rows: np.ndarray, splits: int) -> list[np.ndarray]:
    bounds = [i * len(rows) // splits for i in range(splits + 1)]
    return [rows[start:stop] for start, stop in itertools.pairwise(bounds)]


def _score(probabilities: np.ndarray, weights: np.ndarray) -> float:
    marginal = weights @ probabilities
    tiny = np.finfo(np.float64).tiny
    entropy = np.sum(probabilities * np.log(np.maximum(probabilities, tiny)), axis=1)
    cross = probabilities @ np.log(np.maximum(marginal, tiny))
    return float(np.exp(weights @ (entropy - cross)))
