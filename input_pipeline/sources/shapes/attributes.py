"""The five attributes of a shapes picture, their names, and the pairs kept out of training."""

from __future__ import annotations

from typing import Any, NamedTuple

SHAPES = ("circle", "square", "triangle", "star", "heart", "cross", "ring")
COLORS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
SIZES = ("small", "large")
PLACES = ("left", "right", "top", "bottom", "centre")
BACKGROUNDS = ("white", "gray", "black")

# Names by field, in the order of the columns of every attribute array.
NAMES: dict[str, tuple[str, ...]] = {
    "shape": SHAPES,
    "color": COLORS,
    "size": SIZES,
    "place": PLACES,
    "background": BACKGROUNDS,
}


class Attributes(NamedTuple):
    """Indices into `NAMES`, field by field; None where a caption does not say."""

    shape: Any = None  # an int, or None where a caption does not say
    color: Any = None  # an int, or None where a caption does not say
    size: Any = None  # an int, or None where a caption does not say
    place: Any = None  # an int, or None where a caption does not say
    background: Any = None  # an int, or None where a caption does not say


# One shape a color, going round the shapes in strides of three: every color and every shape
# loses one pair (square two) and is seen in all its others. Not drawn from the seed, so that
# figures on the split `compositions` compare between data sets.
HELD_OUT = frozenset(((3 * color + 1) % len(SHAPES), color) for color in range(len(COLORS)))


def pairs(held_out: bool) -> list[tuple[int, int]]:
    """Returns the (shape, color) pairs that are kept out of training, or all the others."""
    every = [(shape, color) for shape in range(len(SHAPES)) for color in range(len(COLORS))]
    return [pair for pair in every if (pair in HELD_OUT) == held_out]
