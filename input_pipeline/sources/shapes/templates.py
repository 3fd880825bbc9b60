"""The match of an object's coverage with the rendered shapes, at any scale and turn."""

from __future__ import annotations

import functools

import numpy as np

from input_pipeline.sources.shapes import rendering
from input_pipeline.sources.shapes.attributes import SHAPES

GRID = 24  # pixels of a template
GRID_REACH = 1.5  # half its side, in square roots of the object's area
_ANGLES = np.linspace(-1.0, 1.0, 7) * rendering.TURN
# Width of a template's edge, in square roots of the area: from a large object in a large picture
# to a small one at 32 pixels, or one a little out of focus.
_SOFTNESS = (0.06, 0.16, 0.3)


@functools.cache
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """Templates [K, GRID * GRID] of unit area, shape by shape, and [shapes] areas at radius 1."""
    fine = (np.arange(256) + 0.5) / 128.0 * rendering.REACH - rendering.REACH
    areas, templates = [], []
    for shape in SHAPES:
        inside = rendering.DISTANCES[shape](fine[None, :], fine[:, None]) < 0.0
        areas.append(inside.mean() * (2.0 * rendering.REACH) ** 2)
        templates += [
            _template(shape, np.sqrt(areas[-1]), angle, softness)
            for softness in _SOFTNESS
            for angle in _ANGLES
        ]
    return np.stack(templates).astype(np.float32), np.array(areas, np.float32)


def _grid() -> np.ndarray:
    return ((np.arange(GRID) + 0.5) / GRID * 2.0 - 1.0) * GRID_REACH


def _template(shape: str, scale: float, angle: float, softness: float) -> np.ndarray:
    at = _grid() * scale
    x, y = at[None, :], at[:, None]
    cos, sin = np.cos(angle), np.sin(angle)
    distance = rendering.DISTANCES[shape](cos * x + sin * y, cos * y - sin * x) / scale
    return np.clip(0.5 - distance / softness, 0.0, 1.0).ravel()


def crop(alpha: np.ndarray, scale: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Objects on the templates' grid, [B, GRID * GRID], by bilinear sampling.

    Args:
      alpha: [B, S, S] coverage.
      scale: [B] square roots of the objects' areas, in sides of the picture.
      x, y: [B] their centres, in sides of the picture.
    """
    size = alpha.shape[1]
    padded = np.pad(alpha, ((0, 0), (1, 1), (1, 1)))
    fetched = []
    for centre in (y, x):
        at = (centre[:, None] + _grid() * scale[:, None]) * size + 0.5
        at = np.clip(at, 0.0, size + 1 - 1e-3).astype(np.float32)
        low = at.astype(np.int64)
        fetched.append((low, at - low))
    (row, down), (column, across) = fetched
    batch = np.arange(len(alpha))[:, None, None]
    row, column = row[:, :, None], column[:, None, :]
    down, across = down[:, :, None], across[:, None, :]
    top = padded[batch, row, column] * (1 - across) + padded[batch, row, column + 1] * across
    row = row + 1
    low = padded[batch, row, column] * (1 - across) + padded[batch, row, column + 1] * across
    return (top * (1 - down) + low * down).reshape(len(alpha), -1)


def matches(crop: np.ndarray) -> np.ndarray:
    """Returns [B, shapes] Dice overlap with each shape's best template."""
    templates, _ = drawn()
    dice = 2.0 * crop @ templates.T
    dice /= (crop**2).sum(1)[:, None] + (templates**2).sum(1)
    return dice.reshape(len(crop), len(SHAPES), -1).max(2)
