"""The shares of images' variance that text and noise explain."""

from __future__ import annotations

import numpy as np


def variance_shares(features: np.ndarray) -> tuple[float, float]:
    """Shares (text, noise) of the variance, each in [0, 1], adding to 1; (0, 0) without variance.

    The variance within a caption is the noise's; that between captions, less what the noise adds
    to the captions' means, is the text's: one-way analysis of variance with random effects.

    Args:
      features: [captions, samples, dim] of several images for each caption, both >= 2.

    Reference: Searle, Casella and McCulloch, "Variance Components", section 3.5.
    """
    features = np.asarray(features, np.float64)
    captions, samples, _ = features.shape
    means = features.mean(axis=1)
    within = np.sum((features - means[:, None]) ** 2) / (captions * (samples - 1))
    between = samples * np.sum((means - means.mean(axis=0)) ** 2) / (captions - 1)
    text = max((between - within) / samples, 0.0)
    total = text + within
    return (float(text / total), float(within / total)) if total > 0 else (0.0, 0.0)
