"""The first images of a source alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from input_pipeline.sources.base import Example, Source


def limited(source: Source, most: int | None) -> Source:
    """Returns a source with at most so many images of each split; the same where `most` is None."""
    if most is None:
        return source
    return _LimitedStream(source, most) if hasattr(source, "stream") else _Limited(source, most)


class _Limited:
    def __init__(self, source: Any, most: int) -> None:
        self._source, self._most = source, most
        self.name, self.vocabulary = source.name, source.vocabulary
        self.bad = getattr(source, "bad", [])

    def notes(self) -> Iterator[str]:
        return self._source.notes() if hasattr(self._source, "notes") else iter(())

    def splits(self) -> dict[str, int]:
        return {name: min(count, self._most) for name, count in self._source.splits().items()}

    def examples(self, split: str, start: int, stop: int) -> Iterator[Example]:
        return self._source.examples(split, start, min(stop, self._most))

    def captions(self, split: str) -> Iterator[str]:
        for example in self.examples(split, 0, self.splits()[split]):
            yield from example.captions


class _LimitedStream(_Limited):
    def stream(self, split: str) -> Iterator[Example]:
        return itertools.islice(self._source.stream(split), self._most)

    def captions_by_key(self, split: str) -> Iterator[tuple[str, Any]]:
        return itertools.islice(self._source.captions_by_key(split), self._most)
