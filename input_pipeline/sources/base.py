"""The protocol of a source: examples, splits and captions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from input_pipeline.images.decode import Rejected
    from input_pipeline.text.vocabulary import Vocabulary


@dataclasses.dataclass(frozen=True)
class Example:
    """One image with all its captions, as a source gives it: not yet decoded, not yet checked.

    Attributes:
      key: unique within its split.
      image: a file to read, an encoded file's bytes, uint8 [H, W, 3] pixels, or why there is none
        (`image_files.decode` takes all four).
      captions: sentences, or int32 [n, L] word codes where the source brings its vocabulary.
      file: names the image in `rejected.csv`; the key where it is None.
    """

    key: str
    image: Path | bytes | np.ndarray | Rejected
    captions: tuple[str, ...] | np.ndarray
    file: str | None = None


class Source(Protocol):
    """A kind of input: random access by range, so that shards can be written in parallel.

    A source may have more. `stream(split) -> Iterator[Example]` takes the place of `examples` where
    data can be read from front to back only, with `captions_by_key(split)`, which yields (key,
    captions) without the images. `bad` is a list of (where, reason) of rows that could not be
    used, and `notes()` yields lines for the summary.

    Attributes:
      name: the word after `--source=`.
      vocabulary: the source's own, or None where it is built from the train captions.
    """

    name: str
    vocabulary: Vocabulary | None

    def splits(self) -> dict[str, int]:
        """Number of images in each split, before any is rejected."""
        ...

    def examples(self, split: str, start: int, stop: int) -> Iterator[Example]:
        """Examples `start` to `stop` of a split, in a fixed order, in constant memory."""
        ...

    def captions(self, split: str) -> Iterator[str]:
        """Returns every caption of a split, for building a vocabulary."""
        ...
