"""Interpolation between two captions and between two noises."""

from __future__ import annotations

import numpy as np

from input_pipeline.text.vocabulary import NULL


def between_captions(table: np.ndarray, ends: np.ndarray, steps: int) -> dict[str, np.ndarray]:
    """Returns {"vectors" [steps, L, D], "mask" [steps, L]}: texts as the networks take them.

    The way leads straight through the word vectors, position by position.

    Args:
      table: float32 [V, D] word vectors.
      ends: int [2, L] codes of the first caption and of the last.
      steps: points, both ends included, >= 2.
    """
    weights = np.linspace(0.0, 1.0, steps, dtype=np.float32)[:, None]
    first, last = table[ends]
    present = (ends != NULL).astype(np.float32)
    return {
        "vectors": (1.0 - weights[..., None]) * first[None] + weights[..., None] * last[None],
        "mask": (1.0 - weights) * present[:1] + weights * present[1:],
    }


def between_sentences(ends: np.ndarray, steps: int) -> np.ndarray:
    """Returns [steps, ...]: straight from the first sentence embedding of `ends` to the last.

    Args:
      ends: [2, E], or [2, 1 + T, E] with tokens.
      steps: points on the way, both ends included.

    The networks scale what they are given: on the way no point is too short for them.
    """
    weights = np.linspace(0.0, 1.0, steps, dtype=np.float32).reshape(-1, *[1] * (ends.ndim - 1))
    return (1.0 - weights) * ends[:1] + weights * ends[1:]


def between_noises(start: np.ndarray, end: np.ndarray, steps: int) -> np.ndarray:
    """Returns float32 [steps, n]: evenly along the great circle from start [n] to end [n].

    Every point is about as long as the ends are, as a normal vector is expected to be: straight
    through, the middle would be nearer to 0 than any noise that the generator has seen.

    Args:
      start, end: two noises, both returned as they are.
      steps: points, both ends included, >= 2.

    Reference: White, Sampling Generative Networks, section 2.1, arXiv:1609.04468.
    """
    weights = np.linspace(0.0, 1.0, steps)[:, None]
    cosine = np.dot(start, end) / (np.linalg.norm(start) * np.linalg.norm(end))
    angle = np.arccos(np.clip(cosine, -1.0, 1.0))
    if np.sin(angle) < 1e-4:  # the same way or opposite: no one circle leads there
        shares = 1.0 - weights, weights
    else:
        shares = (
            np.sin((1.0 - weights) * angle) / np.sin(angle),
            np.sin(weights * angle) / np.sin(angle),
        )
    return (shares[0] * start + shares[1] * end).astype(np.float32)
