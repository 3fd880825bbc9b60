"""Rendered pictures of one object with captions: a data set without a download, and its oracle.

`--num_examples` pictures in all: 10 % test, 5 % validation and 5 % compositions (at least one
each), the rest train. The split `compositions` has the color-shape pairs that no other split
shows. Picture i of a split depends only on the seed, the split and i.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator

import numpy as np

from input_pipeline.errors import UserError
from input_pipeline.sources.base import Example
from input_pipeline.sources.shapes import attributes as names
from input_pipeline.sources.shapes.attributes import Attributes
from input_pipeline.sources.shapes.captions import CAPTIONS, SENTENCE_DRAWS, caption_of
from input_pipeline.sources.shapes.rendering import DRAWS, render, scene_of

SPLITS = ("train", "validation", "test", "compositions")
IMAGE_SIZES = (32, 256)
_PAIRS = {held_out: names.pairs(held_out) for held_out in (False, True)}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds this source's own flags; `--image_size` and `--seed` are prepare's."""
    parser.add_argument(
        "--num_examples",
        type=int,
        default=20_000,
        help="shapes: pictures to render, all splits together (default %(default)s)",
    )


def open_source(args: argparse.Namespace) -> ShapesSource:
    """Returns the source that the flags describe.

    Raises:
      UserError: a number out of its range.
    """
    seed = getattr(args, "seed", None) or 0
    low, high = IMAGE_SIZES
    if args.num_examples < len(SPLITS):
        raise UserError(
            f"--num_examples={args.num_examples} is too few for the {len(SPLITS)} splits of "
            f"shapes; give at least {len(SPLITS)}, e.g. --num_examples=20000"
        )
    if not low <= args.image_size <= high:
        raise UserError(
            f"--image_size={args.image_size} is outside what shapes are drawn at, {low} to {high}; "
            "give e.g. --image_size=64"
        )
    if seed < 0:
        raise UserError(f"--seed={seed} is negative; give 0 or more")
    return ShapesSource(args.num_examples, args.image_size, seed)


@dataclasses.dataclass(frozen=True)
class ShapesSource:
    """Random access to rendered examples; see `input_pipeline.sources.base.Source`."""

    num_examples: int
    image_size: int
    seed: int = 0
    name = "shapes"
    vocabulary = None

    def splits(self) -> dict[str, int]:
        """Number of pictures in each split."""
        twentieth = max(1, self.num_examples // 20)
        tenth = max(1, self.num_examples // 10)
        train = self.num_examples - tenth - 2 * twentieth
        return {
            "train": train,
            "validation": twentieth,
            "test": tenth,
            "compositions": twentieth,
        }

    def examples(self, split: str, start: int, stop: int) -> Iterator[Example]:
        """Examples `start` to `stop` of a split."""
        for index in range(start, stop):
            attributes, draws, sentences = self._draw(split, index)
            image = render(scene_of(attributes, draws), self.image_size)
            yield Example(f"{split}-{index:08d}", image, sentences)

    def captions(self, split: str) -> Iterator[str]:
        """Yields every caption of a split; nothing is rendered."""
        for index in range(self.splits()[split]):
            yield from self._draw(split, index)[2]

    def attributes(self, split: str, index: int) -> Attributes:
        """Returns what picture `index` of a split shows."""
        return self._draw(split, index)[0]

    def _draw(self, split: str, index: int) -> tuple[Attributes, np.ndarray, tuple[str, ...]]:
        """Attributes, the draws of the scene, and the captions, from one addressed generator."""
        generator = np.random.Generator(
            np.random.Philox(key=self.seed, counter=[0, 0, index, SPLITS.index(split)])
        )
        draws = generator.random(4 + DRAWS + CAPTIONS * SENTENCE_DRAWS)
        chosen, scene, sentences = np.split(draws, [4, 4 + DRAWS])
        pairs = _PAIRS[split == "compositions"]
        shape, color = pairs[int(chosen[0] * len(pairs))]
        size, place, background = (
            int(draw * len(options))
            for draw, options in zip(
                chosen[1:], (names.SIZES, names.PLACES, names.BACKGROUNDS), strict=True
            )
        )
        attributes = Attributes(shape, color, size, place, background)
        rows = sentences.reshape(CAPTIONS, SENTENCE_DRAWS)
        return attributes, scene, tuple(caption_of(attributes, row) for row in rows)
