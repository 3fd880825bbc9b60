"""A source of images that lie in files, each with its captions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from input_pipeline.errors import UserError
from input_pipeline.sources.base import Example


class Gathered(Protocol):
    """Images by split and place, as readers give them.

    Attributes:
      bad: (where, reason) of rows and captions that could not be used.
    """

    bad: list[tuple[str, str]]

    def splits(self) -> dict[str, int]:
        """Returns the number of images of each split; "" for those of none."""
        ...

    def notes(self) -> Iterator[str]:
        """Yields lines for the summary."""
        ...

    def examples(self, split: str, start: int, stop: int) -> Iterator[Example]:
        """Yields examples `start` to `stop` of a split."""
        ...


class NamedImages:
    """See `sources.base.Source`. An example's key is its name in the table or folder.

    Attributes:
      name: after `--source=`.
      bad: (where, reason) of rows and captions that could not be used.
    """

    vocabulary = None

    def __init__(self, name: str, gathered: Gathered) -> None:
        self.name = name
        self.bad = gathered.bad
        self._gathered = gathered
        given = gathered.splits()
        # Where the data names no split for some images, or none to train on, these are for train.
        rest = given.pop("", 0)
        self._parts = {name: [(name, count)] for name, count in given.items()}
        if rest:
            self._parts.setdefault("train", []).append(("", rest))
        if "train" not in self._parts:
            several = [part for parts in self._parts.values() for part in parts]
            self._parts = {"train": several} if len(self._parts) == 1 else self._parts
        if not self._parts:
            raise UserError(f"--source={name} has no image")

    def splits(self) -> dict[str, int]:
        """Returns the number of images of each split; all are for training where none is said."""
        return {name: sum(count for _, count in parts) for name, parts in self._parts.items()}

    def notes(self) -> Iterator[str]:
        """Yields lines for the summary: how names were bridged, what is missing."""
        return self._gathered.notes()

    def examples(self, split: str, start: int, stop: int) -> Iterator[Example]:
        """Yields examples `start` to `stop` of a split, in a fixed order."""
        first = 0
        for part, count in self._parts[split]:
            low, high = max(start - first, 0), min(stop - first, count)
            if low < high:
                yield from self._gathered.examples(part, low, high)
            first += count

    def examples_of_all(self, start: int, stop: int) -> Iterator[Example]:
        """Yields examples `start` to `stop` of all splits together, one split after another."""
        first = 0
        for split, count in self.splits().items():
            low, high = max(start - first, 0), min(stop - first, count)
            if low < high:
                yield from self.examples(split, low, high)
            first += count

    def captions(self, split: str) -> Iterator[str]:
        """Yields every caption of a split."""
        for example in self.examples(split, 0, self.splits()[split]):
            yield from example.captions
