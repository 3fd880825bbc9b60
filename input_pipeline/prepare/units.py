"""The work of `prepare` in units that know nothing of each other, for several machines.

A unit is a file of a source of files, or a range of another's examples. `look` counts its words,
`convert_unit` writes its records into pieces of at most a shard, and `join` puts records of
pieces into a shard: each is a function of files on this machine, and gives the same however often
and wherever it is called. What they write together is what `write.write_records` writes.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from array_record.python import array_record_module

from input_pipeline.images.placeholders import small_file_digests
from input_pipeline.prepare import convert
from input_pipeline.prepare.options import captions_by_key
from input_pipeline.prepare.shards import SplitWriter, record_writer, shard_name
from input_pipeline.prepare.splits import Split, SplitAssignment
from input_pipeline.prepare.write import KEYS, Counts, SeenKeys, write_outcome
from input_pipeline.sources.base import Example, OneFile, Source
from input_pipeline.text.vocabulary import count_words


@dataclasses.dataclass(frozen=True)
class Unit:
    """A part of one split of the source.

    Attributes:
      index: its place: units in this order are the source.
      split: of the source.
      start: of its examples, the first; 0 for a file.
      stop: after the last; 0 for a file.
      file: where it is all examples of the split in one file; its path may be a URL's.
    """

    index: int
    split: str
    start: int = 0
    stop: int = 0
    file: OneFile | None = None


@dataclasses.dataclass(frozen=True)
class Piece:
    """Some records of a file of records, by their places in it.

    Attributes:
      unit: whose.
      file: its name.
      start: the first.
      stop: after the last.
    """

    unit: int
    file: str
    start: int
    stop: int


@dataclasses.dataclass
class Look:
    """What one file holds, without its images.

    Attributes:
      counts: examples of each split.
      words: how often each word comes in the captions that stay in train.
      keys: of the examples of train, where they are so few that all may be asked for.
      bad: (where, reason) of what could not be read.
      notes: lines for the summary.
    """

    counts: dict[str, int]
    words: collections.Counter[str]
    keys: list[str]
    bad: list[tuple[str, str]]
    notes: list[str]


def look(source: Any, division: SplitAssignment | None, few: int) -> Look:
    """Returns what one file holds.

    Args:
      source: of the file.
      division: of train; None: words are not counted.
      few: keys are listed up to this number.
    """
    counts = source.splits()
    found: Look = Look(counts, collections.Counter(), [], [], [])
    number = counts.get("train", 0)
    if division is not None and number:
        keys: list[str] = []
        found.words = count_words(_train_captions(source, division, keys, few))
        found.keys = keys
    found.bad = [(str(where), reason) for where, reason in source.bad]
    found.notes = list(source.notes())
    return found


def _train_captions(
    source: Source, division: SplitAssignment, keys: list[str], few: int
) -> Iterator[str]:
    for key, captions in captions_by_key(source, "train"):
        if len(keys) <= few:
            keys.append(key)
        if division.split_of(key) == "train":
            yield from captions


def convert_unit(
    source: Source,
    unit: Unit,
    splits: Sequence[Split],
    conversion: convert.Conversion,
    shard_size: int,
    folder: Path,
) -> dict[str, Any]:
    """Returns what a unit gave after writing its records and its keys into `folder`.

    Args:
      source: that holds the unit: all of it, or the unit's file.
      unit: which part.
      splits: all that are made.
      conversion: what is done to each example.
      shard_size: records in a file.
      folder: exists, empty.
    """
    parts = [split for split in splits if split.source_split == unit.split]
    refusals = io.StringIO(newline="")
    counts = Counts(refusals)
    header = refusals.tell()
    keys = SeenKeys(folder / KEYS)
    sizes = conversion.image_size, conversion.caption_length
    writers = {split.name: SplitWriter(folder, split.name, *sizes) for split in parts}
    with contextlib.ExitStack() as stack:
        for writer in writers.values():
            stack.callback(writer.end_shard)
        part = source if unit.file else Window(source, unit)
        outcomes = convert.convert(part, unit.split, conversion, workers=1)
        for outcome in itertools.chain.from_iterable(outcomes):
            write_outcome(outcome, parts, writers, shard_size, counts, keys)
        for writer in writers.values():
            writer.finish()
    keys.finish()
    return {
        "files": {
            name: {
                shard_name(name, index, len(writer.lengths)): length
                for index, length in enumerate(writer.lengths)
            }
            for name, writer in writers.items()
        },
        "counts": counts.to_json(),
        "refusals": refusals.getvalue()[header:],
    }


class Window:
    """The examples of a unit as a source of its own."""

    def __init__(self, source: Source, unit: Unit) -> None:
        self.name, self.vocabulary = source.name, source.vocabulary
        self._source, self._unit = source, unit

    def splits(self) -> dict[str, int]:
        return {self._unit.split: self._unit.stop - self._unit.start}

    def examples(self, split: str, start: int, stop: int) -> Iterator[Example]:
        return self._source.examples(split, self._unit.start + start, self._unit.start + stop)

    def captions(self, split: str) -> Iterator[str]:
        for example in self.examples(split, 0, self._unit.stop - self._unit.start):
            yield from example.captions


def digests(source: Source, unit: Unit) -> list[tuple[bytes, bytes]]:
    """Returns (content, path) of the small files of a unit, see `images.placeholders`."""
    examples = source.examples(unit.split, unit.start, unit.stop)
    return list(small_file_digests(e.image for e in examples if isinstance(e.image, Path)))


def windows(split: str, number: int, size: int, first: int) -> list[Unit]:
    """Returns a split in ranges.

    Args:
      split: of the source.
      number: of its examples.
      size: of a range.
      first: index of the first.
    """
    starts = range(0, number, size)
    return [
        Unit(first + place, split, start, min(start + size, number))
        for place, start in enumerate(starts)
    ]


def shards(
    split: str, results: Mapping[int, Mapping[str, Any]], shard_size: int
) -> dict[str, list[Piece]]:
    """Returns which records each shard of a split has, all of the units' in their order.

    Args:
      split: that is made.
      results: of `convert_unit`, by the unit's index.
      shard_size: records in each shard but the last.
    """
    planned: list[list[Piece]] = []
    room = 0
    for unit in sorted(results):
        for file, length in results[unit]["files"].get(split, {}).items():
            start = 0
            while start < length:
                if not room:
                    planned.append([])
                    room = shard_size
                stop = min(length, start + room)
                planned[-1].append(Piece(unit, file, start, stop))
                room -= stop - start
                start = stop
    return {shard_name(split, index, len(planned)): pieces for index, pieces in enumerate(planned)}


def join(pieces: Sequence[tuple[Path, int, int]], path: Path) -> None:
    """Writes a shard of records that lie in other files.

    Args:
      pieces: (file, first, after the last).
      path: of the shard.
    """
    with contextlib.closing(record_writer(path)) as writer:
        for file, start, stop in pieces:
            with contextlib.closing(array_record_module.ArrayRecordReader(str(file))) as reader:
                for record in reader.read(list(range(start, stop))):
                    writer.write(record)
