"""Patches of an image at several scales, as a reader of images: nothing in it is learned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from input_pipeline.errors import UserError

NAME = "patches"
EDGE = 7  # pixels of a patch
PLACES = 16  # patches of an image and scale, at the same places in every image
COARSEST = 16  # pixels of the smallest scale
_KERNEL = np.array([1, 4, 6, 4, 1], np.float32) / 16


class Patches:
    """Reads 16 patches of 7x7 of each level of an image's Laplacian pyramid, down to 16x16.

    Reference: Karras et al. 2018, section 5, arXiv:1710.10196, which takes 128 patches.
    """

    name = NAME

    def __init__(self, image_size: int) -> None:
        """For images of `image_size` pixels.

        Raises:
          UserError: they are smaller than a patch.
        """
        if image_size < EDGE:
            raise UserError(f"images of {image_size} pixels have no patches of {EDGE}")
        self.image_size = image_size
        self.sizes = [image_size]
        while self.sizes[-1] >= 2 * COARSEST:
            self.sizes.append(self.sizes[-1] // 2)
        self.width = EDGE * EDGE * 3
        self.dim = len(self.sizes) * PLACES * self.width
        random = np.random.default_rng(0)
        self._places = [random.integers(0, size - EDGE + 1, (PLACES, 2)) for size in self.sizes]
        self.provenance: dict[str, Any] = {"patches": PLACES, "patch": EDGE, "scales": self.sizes}

    def rows(self, images: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yields [B, dim] patches of all levels, of each uint8 [B, S, S, 3] batch.

        Raises:
          UserError: images of another size.
        """
        for batch in images:
            if batch.shape[1:3] != (self.image_size, self.image_size):
                raise UserError(
                    f"images of {batch.shape[2]}x{batch.shape[1]} cannot be compared by patches "
                    f"with those of {self.image_size}x{self.image_size}: resize them"
                )
            levels = laplacian_pyramid(batch.astype(np.float32), len(self.sizes))
            found = [
                level[:, top : top + EDGE, left : left + EDGE].reshape(len(batch), -1)
                for level, places in zip(levels, self._places, strict=True)
                for top, left in places
            ]
            yield np.concatenate(found, axis=1)

    def levels(self, rows: np.ndarray) -> dict[int, np.ndarray]:
        """Returns [n * 16, 147] patches of each level, by its size, of [n, dim] rows."""
        shape = (len(rows), len(self.sizes), PLACES, self.width)
        apart = np.asarray(rows).reshape(shape)
        return {size: apart[:, i].reshape(-1, self.width) for i, size in enumerate(self.sizes)}


def laplacian_pyramid(images: np.ndarray, count: int) -> list[np.ndarray]:
    """Returns what each halving of [B, S, S, 3] images loses, and what is left after the last.

    Args:
      images: float32.
      count: levels, 1 or more; S is divisible by 2 ** (count - 1).

    Reference: Burt and Adelson 1983.
    """
    levels = []
    for _ in range(count - 1):
        smaller = _blurred(images, 1.0)[:, ::2, ::2]
        spread = np.zeros_like(images)
        spread[:, ::2, ::2] = smaller
        levels.append(images - _blurred(spread, 2.0))
        images = smaller
    return [*levels, images]


def _blurred(images: np.ndarray, gain: float) -> np.ndarray:
    for axis in (1, 2):
        pad = [(2, 2) if i == axis else (0, 0) for i in range(4)]
        padded = np.pad(images, pad, mode="reflect")
        size = images.shape[axis]
        shifted = [np.take(padded, range(i, i + size), axis=axis) for i in range(len(_KERNEL))]
        images = sum(gain * weight * one for weight, one in zip(_KERNEL, shifted, strict=True))
    return images
