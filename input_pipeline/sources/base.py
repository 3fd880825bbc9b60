"""The protocol of a source: examples, splits and captions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
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


@dataclasses.dataclass(frozen=True)
class OneFile:
    """One file of a source of files, and what it has to know of the others to be read alone.

    Attributes:
      path: of the file.
      split: of all its examples, or "" where its name says none.
      number: files of the source.
      any_named: whether the name of any file says a split.
      all_train: whether all examples are for training, whatever is said: there is one split, and
        it is another.
      first: {split: place among all of its first example}.
    """

    path: Path
    split: str
    number: int = 1
    any_named: bool = False
    all_train: bool = False
    first: Mapping[str, int] = dataclasses.field(default_factory=dict)


class Source(Protocol):
    """A kind of input: random access by range, so that shards can be written in parallel.

    A source may have more. `stream(split) -> Iterator[Example]` takes the place of `examples` where
    data can be read from front to back only, with `captions_by_key(split)`, which yields (key,
    captions) without the images. `bad` is a list of (where, reason) of rows that could not be
    used, and `notes()` yields lines for the summary.

    A module whose source reads files one by one may have `files(flags)`, which returns (path, split
    in its name or "") of each, `open_file(flags, one: OneFile) -> Source`, and `KEYS_ARE_PLACES`,
    whether keys count the examples of the files before: then several machines share the files.
    `SPLITS` is the order of its splits where that is not the files'.

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
