"""The five attributes read back from a picture, with nothing learned.

The background is what the border agrees on; the object is what differs from it; its color is the
nearest of the palette, its place the centre of its mass, its shape the best of the drawn templates
and its size what that shape's area says. A field is -1 where the picture does not show it clearly:
a blur, a mixture or two objects are not right by accident.
"""

from __future__ import annotations

import numpy as np

from input_pipeline.sources.shapes import rendering, templates

NONE = -1
CHUNK = 64  # pictures at a time: what fits the processor's cache
WORKING_SIZE = 64  # larger pictures are averaged down to this

BORDER_AGREES = 0.85  # share of border pixels near the border's median
BORDER_NEAR = 30.0  # RGB distance that counts as near
GRAY_SPREAD = 30.0  # a background's channels differ by no more
LEVEL_NEAR = 40.0  # from a background's level
LEAST_CONTRAST = 50.0  # RGB distance between the object and its background
OFF_COLOUR = 45.0  # RGB distance of a pixel from every mixture of object and background
MOST_OFF = 0.15  # share of off-color pixels, of the object's area
COLOUR_NEAR = 20.0  # Lab distance from the palette; jitter takes half of it
COLOUR_CLEAR = 0.65  # nearest over second nearest
GHOST = 0.3  # least coverage of a pixel that counts as a part of something
MOST_STRAY = 0.06  # share of such pixels away from the object
LEAST_MATCH = 0.92  # overlap with the best template, 1 where equal
CLEAR_MATCH = 0.01  # by which it beats the best of another shape
SIDE_REACH = (0.12, 0.36)  # of a side place from the middle; the first also parts side and centre
SIZE_EDGES = (0.085, 0.154, 0.26)  # radius: small between the first two, large after

# In the order of SHAPES: turns by 1 / the first number leave the shape as it is (0: every turn
# does; a heart has none, but a third moment), and the phase of that moment without a turn.
_UP, _DOWN = np.pi / 2, -np.pi / 2  # y points down
_SYMMETRY = ((0, 0.0), (4, np.pi), (3, _UP), (5, _DOWN), (3, _DOWN), (4, 0.0), (0, 0.0))


def read(images: np.ndarray) -> np.ndarray:
    """Indices of shape, color, size, place and background, int64 [B, 5]; -1 is none.

    Args:
      images: uint8 [B, S, S, 3], S at least 32.
    """
    side = images.shape[1] if images.ndim == 4 else 0
    if images.dtype != np.uint8 or images.shape[1:] != (side, side, 3) or not side:
        raise ValueError(f"images must be uint8 [B, S, S, 3], not {images.dtype} {images.shape}")
    parts = [_read_chunk(_shrink(images[at : at + CHUNK])) for at in range(0, len(images), CHUNK)]
    return np.concatenate(parts) if parts else np.zeros((0, 5), np.int64)


def measure(images: np.ndarray) -> dict[str, np.ndarray]:
    """Position, size, angle and color of each image's object, as numbers.

    Args:
      images: uint8 [B, S, S, 3], S at least 32.

    Returns:
      float64 `position` [B, 2] (x, y in sides of the image), `size` [B, 1] (square root of the
      area, in sides), `angle` [B, 1] (radians; nan for circles and rings) and `color` [B, 3] (Lab).
      Rows are nan where `read` finds no clear object.
    """
    parts = [
        _measure_chunk(_shrink(images[at : at + CHUNK])) for at in range(0, len(images), CHUNK)
    ]
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    shape = read(images)[:, 0]
    found["angle"] = found["angle"][np.arange(len(shape)), shape][:, None]
    for rows in found.values():
        rows[shape < 0] = np.nan
    return found


def _measure_chunk(images: np.ndarray) -> dict[str, np.ndarray]:
    rgb, alpha, _ = _object(images, _background(images)[0])
    area, x, y = _moments(alpha)
    return {
        "position": np.stack([x, y], axis=-1).astype(np.float64),
        "size": np.sqrt(area)[:, None].astype(np.float64),
        "angle": np.stack([_angle(alpha, x, y, *symmetry) for symmetry in _SYMMETRY], axis=-1),
        "color": _lab(rgb),
    }


def _angle(alpha: np.ndarray, x: np.ndarray, y: np.ndarray, folds: int, phase: float) -> np.ndarray:
    """[B] turn of a shape that looks the same after a turn by 1 / folds; nan for 0 folds."""
    if not folds:
        return np.full(len(alpha), np.nan)
    at = (np.arange(alpha.shape[1]) + 0.5) / alpha.shape[1]
    from_centre = (at - x[:, None])[:, None, :] + 1j * (at - y[:, None])[:, :, None]
    turned = np.sum(alpha * from_centre**folds, axis=(1, 2))
    return np.angle(turned * np.exp(-1j * phase)) / folds


def _shrink(images: np.ndarray) -> np.ndarray:
    """float32 pictures, averaged down where they are a multiple of the working size."""
    count, size = images.shape[:2]
    factor = size // WORKING_SIZE
    if factor < 2 or size % WORKING_SIZE:
        return images.astype(np.float32)
    total = np.zeros((count, WORKING_SIZE, WORKING_SIZE, 3), np.uint32)
    for row in range(factor):
        for column in range(factor):
            total += images[:, row::factor, column::factor]
    return total.astype(np.float32) / factor**2


def _read_chunk(images: np.ndarray) -> np.ndarray:
    found = np.full((len(images), 5), NONE)
    level, agrees = _background(images)
    found[:, 4] = np.where(agrees, _nearest_level(level), NONE)
    rgb, alpha, clear = _object(images, level)
    clear &= agrees
    area, x, y = _moments(alpha)
    clear &= area > 0
    area = np.maximum(area, 1e-6)
    shape, matched, radius = _shape(alpha, np.sqrt(area), x, y)
    clear &= _stray(alpha, x, y, radius) < MOST_STRAY
    found[:, 0] = np.where(matched, shape, NONE)
    found[:, 1] = _colour(rgb)
    found[:, 2] = _size(radius)
    found[:, 3] = _place(x, y)
    found[~clear, :4] = NONE
    return found


def _background(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[B, 3] color of the border, and [B] whether the border agrees on it."""
    width = max(1, images.shape[1] // 32)
    inner = images[:, width:-width]
    border = np.concatenate(
        [
            side.reshape(len(images), -1, 3)
            for side in (
                images[:, :width],
                images[:, -width:],
                inner[:, :, :width],
                inner[:, :, -width:],
            )
        ],
        axis=1,
    )
    level = np.median(border, axis=1)
    near = np.linalg.norm(border - level[:, None], axis=-1) < BORDER_NEAR
    return level, near.mean(1) >= BORDER_AGREES


def _nearest_level(level: np.ndarray) -> np.ndarray:
    distance = np.abs(level.mean(-1)[:, None] - rendering.BACKGROUND_LEVELS)
    gray = (np.ptp(level, axis=-1) < GRAY_SPREAD) & (distance.min(1) < LEVEL_NEAR)
    return np.where(gray, distance.argmin(1), NONE)


def _object(images: np.ndarray, level: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The object's RGB [B, 3], its coverage [B, S, S], and [B] whether one color explains it."""
    difference = images - level[:, None, None]
    square = np.einsum("bijc,bijc->bij", difference, difference)
    flat = square.reshape(len(images), -1)
    rank = int(flat.shape[1] * 0.995)
    peak = np.partition(flat, rank, axis=1)[:, rank]
    core = square > 0.5 * peak[:, None, None]
    weight = core.astype(np.float32)
    contrast = (
        np.einsum("bij,bijc->bc", weight, difference) / np.maximum(weight.sum((1, 2)), 1.0)[:, None]
    )
    strength = np.maximum((contrast**2).sum(-1), 1e-6)
    alpha = np.einsum("bijc,bc->bij", difference, contrast) / strength[:, None, None]
    residual = square - alpha**2 * strength[:, None, None]
    np.clip(alpha, 0.0, 1.0, out=alpha)
    off = (residual > OFF_COLOUR**2).sum((1, 2))
    clear = (strength > LEAST_CONTRAST**2) & (off <= MOST_OFF * (alpha > 0.5).sum((1, 2)))
    return level + contrast, alpha, clear


def _moments(alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Area (share of the picture) and centre (fractions of its side) of what is over a half."""
    size = alpha.shape[1]
    # Faint pixels are noise; the middle of the edge is where the object ends.
    mass = np.clip(alpha * 2.0 - 0.5, 0.0, 1.0)
    at = (np.arange(size, dtype=np.float32) + 0.5) / size
    columns, rows = mass.sum(1), mass.sum(2)
    total = rows.sum(1)
    safe = np.maximum(total, 1e-6)
    return total / size**2, columns @ at / safe, rows @ at / safe


def _shape(
    alpha: np.ndarray, scale: np.ndarray, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """[B] shape, whether it is clear, and the radius that the shape's area means."""
    match = templates.matches(templates.crop(alpha, scale, x, y))
    ordered = np.sort(match, axis=1)
    shape = match.argmax(1)
    clear = (ordered[:, -1] > LEAST_MATCH) & (ordered[:, -1] - ordered[:, -2] > CLEAR_MATCH)
    return shape, clear, scale / np.sqrt(templates.drawn()[1][shape])


def _stray(alpha: np.ndarray, x: np.ndarray, y: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """[B] share of the object's pixels farther from its centre than any shape reaches."""
    size = alpha.shape[1]
    at = (np.arange(size, dtype=np.float32) + 0.5) / size
    square = (at - y[:, None])[:, :, None] ** 2 + (at - x[:, None])[:, None, :] ** 2
    far = square > (rendering.REACH * radius + 1.5 / size)[:, None, None] ** 2
    seen = alpha > GHOST
    return (seen & far).sum((1, 2)) / np.maximum(seen.sum((1, 2)), 1)


def _lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* (D65) of sRGB in 0 to 255: distances in it are about those that people see."""
    value = np.clip(rgb / 255.0, 0.0, 1.0)
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    xyz = linear @ to_xyz.T / np.array([0.9505, 1.0, 1.089])
    root = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16.0 / 116.0)
    x, y, z = root[..., 0], root[..., 1], root[..., 2]
    return np.stack([116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)], axis=-1)


def _colour(rgb: np.ndarray) -> np.ndarray:
    distance = np.linalg.norm(_lab(rgb)[:, None] - _lab(rendering.PALETTE), axis=-1)
    nearest, second = np.sort(distance, axis=1)[:, :2].T
    clear = (nearest < COLOUR_NEAR) & (nearest < COLOUR_CLEAR * second)
    return np.where(clear, distance.argmin(1), NONE)


def _size(radius: np.ndarray) -> np.ndarray:
    size = np.searchsorted(SIZE_EDGES, radius) - 1
    return np.where((size >= 0) & (size < len(rendering.RADII)), size, NONE)


def _place(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The place whose region the centre is in; NONE in the corners and beyond."""
    from_middle = np.stack([x, y], axis=-1) - 0.5
    along = from_middle @ rendering.DIRECTIONS[:4].T
    across = np.sort(np.abs(from_middle), axis=1)[:, 0]
    least, most = SIDE_REACH
    farthest = along.max(1)
    place = np.where(farthest < least, 4, along.argmax(1))
    return np.where((across < least) & (farthest < most), place, NONE)
