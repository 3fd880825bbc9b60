"""How much the objects of one caption differ: what a caption leaves to the renderer's draws."""

from __future__ import annotations

import warnings

import numpy as np

from input_pipeline.sources.shapes import oracle
from input_pipeline.sources.shapes.attributes import NAMES, Attributes
from input_pipeline.sources.shapes.rendering import DRAWS, render, scene_of

QUANTITIES = ("position", "size", "angle", "color")


def renderings(asked: np.ndarray, samples: int, size: int, seed: int) -> np.ndarray:
    """Returns uint8 [n * samples, size, size, 3]: each caption's attributes drawn several times.

    Args:
      asked: int [n, 5] attributes; a negative one, which a caption does not name, is drawn anew
        for each image.
      samples: images of each.
      size: pixels a side.
      seed: of the draws.
    """
    generator = np.random.default_rng(seed)
    counts = [len(names) for names in NAMES.values()]
    images = []
    for row in np.repeat(asked, samples, axis=0):
        free = generator.integers(counts)
        attributes = Attributes(*(int(at) for at in np.where(row < 0, free, row)))
        images.append(render(scene_of(attributes, generator.random(DRAWS)), size))
    return np.stack(images)


def within(images: np.ndarray, samples: int) -> dict[str, float]:
    """Returns the root mean square deviation of each quantity within a caption.

    Images whose object is not clear are passed over, and captions with fewer than two others.

    Args:
      images: uint8 [n * samples, S, S, 3], the images of a caption after another.
      samples: images of each.

    Returns:
      `position` and `size` in sides of the image, `angle` in radians, `color` in Lab distance.
    """
    seen = oracle.measure(images)
    grouped = {name: rows.reshape(-1, samples, rows.shape[-1]) for name, rows in seen.items()}
    return {name: _deviation(grouped[name]) for name in QUANTITIES}


def _deviation(rows: np.ndarray) -> float:
    """Of rows [n, samples, d], nan where they are not known."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # captions without two clear images
        return float(np.sqrt(np.nanmean(np.nanvar(rows, axis=1, ddof=1).sum(axis=-1))))
