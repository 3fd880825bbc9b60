"""Images of one object, rendered from signed distances: antialiased at any size.

Lengths are fractions of the picture's side; angles are radians; y points down. The ranges below
keep every attribute unambiguous: sizes differ by at least 1.45 in radius, places by at least 0.13
between centres, and no object is cut by the border.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from input_pipeline.sources.shapes.attributes import SHAPES, Attributes

# RGB of each color and level of each background, before jitter.
PALETTE = np.array(
    [
        (226, 44, 52),
        (247, 134, 30),
        (248, 212, 46),
        (46, 168, 82),
        (44, 200, 214),
        (48, 104, 232),
        (150, 76, 204),
        (246, 128, 186),
    ],
    np.float32,
)
BACKGROUND_LEVELS = np.array([248, 158, 26], np.float32)

RADII = ((0.108, 0.128), (0.186, 0.214))  # small, large
OFFSETS = ((0.22, 0.29), (0.19, 0.225))  # of a side place from the middle, by size
WANDER = 0.05  # across the place's own direction, and in both at the centre
DIRECTIONS = np.array([(-1, 0), (1, 0), (0, -1), (0, 1), (0, 0)], np.float32)
TURN = 0.24  # most rotation, about 14 degrees
SHADE, CHANNEL, LEVEL = 0.07, 7.0, 6.0  # jitter of lightness, of each channel, of the background
LIGHT = 0.09  # light falls from the upper left: brightness across the object
DRAWS = 11  # uniform numbers a picture takes

Distance = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _star(points: int, outer: float, inner: float, rounding: float) -> Distance:
    """Distance to a star; one with its notches on the edge between tips is a regular polygon."""
    sector = np.pi / points
    tip = np.array([0.0, outer])
    notch = inner * np.array([np.sin(sector), np.cos(sector)])
    edge = notch - tip

    def distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        angle = np.arctan2(x, -y)
        angle = np.abs((angle + sector) % (2 * sector) - sector)
        length = np.hypot(x, y)
        u, v = length * np.sin(angle) - tip[0], length * np.cos(angle) - tip[1]
        along = np.clip((u * edge[0] + v * edge[1]) / (edge @ edge), 0.0, 1.0)
        side = np.sign(v * edge[0] - u * edge[1])
        return side * np.hypot(u - along * edge[0], v - along * edge[1]) - rounding

    return distance


def _box(x: np.ndarray, y: np.ndarray, width: float, height: float) -> np.ndarray:
    u, v = np.abs(x) - width, np.abs(y) - height
    outside = np.hypot(np.maximum(u, 0.0), np.maximum(v, 0.0))
    return outside + np.minimum(np.maximum(u, v), 0.0)


def _circle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.hypot(x, y) - 0.92


def _ring(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.abs(np.hypot(x, y) - 0.76) - 0.26


def _square(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return _box(x, y, 0.73, 0.73) - 0.1


def _cross(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.minimum(_box(x, y, 0.94, 0.25), _box(x, y, 0.25, 0.94)) - 0.09


def _heart(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A square on its corner with a disc on each of its upper sides."""
    half, rounding = 0.5, 0.09
    x, y = np.abs(x), y - 0.22
    u, v = (x - y) * np.sqrt(0.5), (x + y) * np.sqrt(0.5)
    disc = np.hypot(u - half, v) - half
    return np.minimum(disc, _box(u, v, half, half)) - rounding


# In units of the radius, centred where the area's centre of mass is (tests hold it).
DISTANCES: dict[str, Distance] = {
    "circle": _circle,
    "square": _square,
    "triangle": _star(3, 1.06, 0.53, 0.15),
    "star": _star(5, 1.1, 0.52, 0.1),
    "heart": _heart,
    "cross": _cross,
    "ring": _ring,
}
REACH = 1.25  # no shape reaches farther from its centre


class Scene(NamedTuple):
    """Everything a picture is drawn from.

    Attributes:
      shape: index into SHAPES.
      x, y, radius: fractions of the side.
      angle: radians, clockwise.
      color: RGB, 0 to 255.
      level: gray level of the background, 0 to 255.
    """

    shape: int
    x: float
    y: float
    radius: float
    angle: float
    color: np.ndarray
    level: float


def scene_of(attributes: Attributes, draws: np.ndarray) -> Scene:
    """Returns a scene with the attributes, varied by [DRAWS] uniform numbers in [0, 1)."""
    shape, color, size, place, background = attributes
    spread = 2.0 * draws - 1.0
    low, high = RADII[size]
    near, far = OFFSETS[size]
    direction = DIRECTIONS[place]
    wander = WANDER * (1.0 - np.abs(direction)) * spread[1:3]
    x, y = 0.5 + direction * (near + (far - near) * draws[3]) + wander
    rgb = PALETTE[color] * (1.0 + SHADE * spread[4]) + CHANNEL * spread[5:8]
    return Scene(
        shape=shape,
        x=float(x),
        y=float(y),
        radius=low + (high - low) * float(draws[0]),
        angle=TURN * float(spread[8]),
        color=np.clip(rgb, 0.0, 255.0).astype(np.float32),
        level=float(np.clip(BACKGROUND_LEVELS[background] + LEVEL * spread[9], 0.0, 255.0)),
    )


def coverage(scene: Scene, size: int, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
    """Returns how much of each pixel the object covers, and how the light falls on it.

    Args:
      scene: what to draw.
      size: side of the whole picture in pixels.
      rows, columns: the part of it to compute.

    Returns:
      [rows, columns] coverage in [0, 1], and brightness factors about 1.
    """
    cos, sin = np.cos(scene.angle), np.sin(scene.angle)
    scale = 1.0 / (size * scene.radius)
    dx = ((np.arange(columns.start, columns.stop, dtype=np.float32) + 0.5) - scene.x * size) * scale
    dy = ((np.arange(rows.start, rows.stop, dtype=np.float32) + 0.5) - scene.y * size) * scale
    dx, dy = dx[None, :], dy[:, None]
    distance = DISTANCES[SHAPES[scene.shape]](cos * dx + sin * dy, cos * dy - sin * dx)
    light = 1.0 - 0.5 * LIGHT * (dx + dy)
    return np.clip(0.5 - distance / scale, 0.0, 1.0), light


def render(scene: Scene, size: int) -> np.ndarray:
    """Returns the picture, uint8 [size, size, 3]."""
    image = np.full((size, size, 3), round(scene.level), np.uint8)
    reach = REACH * scene.radius
    rows, columns = (
        slice(max(0, int((at - reach) * size)), min(size, int((at + reach) * size) + 2))
        for at in (scene.y, scene.x)
    )
    alpha, light = coverage(scene, size, rows, columns)
    lit = np.minimum(scene.color * light[..., None], 255.0)
    picture = scene.level + alpha[..., None] * (lit - scene.level)
    image[rows, columns] = np.rint(picture)
    return image
