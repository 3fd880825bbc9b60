"""R-precision and recall, from embeddings of images and captions."""

from __future__ import annotations

import numpy as np

OTHERS = 99
FOLDS = 10
GALLERY = 1000
ROUNDING = 1e-9  # Similarities closer than this are equal.


def r_precision(
    images: np.ndarray, texts: np.ndarray, seed: int, groups: np.ndarray | None = None
) -> np.ndarray:
    """Returns [n] whether each image is nearest to its caption among that and 99 others' captions.

    Ties are shared out, so that an embedding which says nothing scores 1 in 100.

    Args:
      images: [n, width] embeddings of unit length.
      texts: [n, width] embeddings of the captions, row by row.
      seed: of the draw of the 99 others.
      groups: [n] the image that each caption belongs to; others come from other images.

    Reference: AttnGAN, arXiv:1711.10485, section 4.1 (there with the training's own matcher).
    """
    random = np.random.default_rng(seed)
    images, texts = np.asarray(images, np.float64), np.asarray(texts, np.float64)
    groups = np.arange(len(images)) if groups is None else groups
    hits = np.empty(len(images))
    for i, image in enumerate(images):
        candidates = np.flatnonzero(groups != groups[i])
        others = random.choice(candidates, min(OTHERS, len(candidates)), replace=False)
        truth = float(image @ texts[i])
        hits[i] = _chance_within(1, truth, texts[others] @ image)
    return hits


def folds(hits: np.ndarray, count: int = FOLDS) -> tuple[float, float]:
    """Mean and standard deviation over folds, as R-precision is published."""
    means = [part.mean() for part in np.array_split(hits, min(count, len(hits)))]
    return float(np.mean(means)), float(np.std(means))


def recall_at(
    texts: np.ndarray, images: np.ndarray, ks: tuple[int, ...] = (1, 5, 10), gallery: int = GALLERY
) -> dict[int, np.ndarray]:
    """For each k, [n] whether the caption's image is among its k best of the gallery.

    More than `gallery` pairs are taken in galleries of that size, one after another, a remainder
    with the last full one; so that the number means the same whatever n.

    Args:
      texts: [n, width] embeddings of captions, of unit length.
      images: [n, width] embeddings of their images, row by row.
      ks: how many of the best count.
      gallery: images that each caption chooses from.
    """
    texts, images = np.asarray(texts, np.float64), np.asarray(images, np.float64)
    found = {k: np.empty(len(texts)) for k in ks}
    for start in range(0, len(texts), gallery):
        stop = min(start + gallery, len(texts))
        members = slice(max(stop - gallery, 0), stop)
        scores = texts[start:stop] @ images[members].T
        for i, row in enumerate(scores):
            at = start + i - members.start
            others = np.delete(row, at)
            for k in ks:
                found[k][start + i] = _chance_within(k, row[at], others)
    return found


def _chance_within(k: int, truth: float, others: np.ndarray) -> float:
    """Chance that the truth is among the k best when equals are put in random order."""
    better = int(np.sum(others > truth + ROUNDING))
    equal = int(np.sum(np.abs(others - truth) <= ROUNDING))
    return float(np.clip((k - better) / (equal + 1), 0.0, 1.0))
