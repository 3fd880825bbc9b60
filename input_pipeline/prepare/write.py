"""From a source to shards: which image goes into which split, what is counted, what is listed."""

from __future__ import annotations

import array
import collections
import contextlib
import csv
import itertools
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np
from tqdm import tqdm

from input_pipeline.dataset import folder as dataset_folder
from input_pipeline.dataset.records import Record
from input_pipeline.errors import UserError
from input_pipeline.prepare.convert import Conversion, Converted, Rejection, convert, printable
from input_pipeline.prepare.splits import Split, key_hash
from input_pipeline.sources.base import Source

_KEYS = "keys.tmp"
_KEYS_IN_MEMORY = 1 << 16
_MOST_UNKNOWN = 20_000  # words


class Counts:
    """Counts of what was written and what was refused; each refusal is a line of a file.

    Attributes:
      examples: images in each split.
      captions: captions in each split.
      rejected: images of each reason.
      bad_rows: rows of captions, and captions, of each reason.
      cut: captions that were longer than there are codes.
      longest: words of the longest caption.
      unspaced: captions that were split by character.
      words: words of all captions.
      unknown_words: those without a code.
      unknown: the most frequent of those.
    """

    def __init__(self, refusals: TextIO) -> None:
        self.examples: collections.Counter[str] = collections.Counter()
        self.captions: collections.Counter[str] = collections.Counter()
        self.rejected: collections.Counter[str] = collections.Counter()
        self.bad_rows: collections.Counter[str] = collections.Counter()
        self.unknown: collections.Counter[str] = collections.Counter()
        self.cut = self.longest = self.unspaced = self.words = self.unknown_words = 0
        self._file = refusals
        self._refusals = csv.writer(refusals)
        self._refusals.writerow(("file", "reason"))

    def add(self, split: str, outcome: Converted | Rejection) -> None:
        """Counts one image."""
        if isinstance(outcome, Rejection):
            self.rejected[outcome.reason] += 1
            self._refusals.writerow((outcome.file, outcome.reason))
            return
        facts = outcome.facts
        self.examples[split] += 1
        self.captions[split] += len(outcome.record.captions)
        self.cut += facts.cut
        self.longest = max(self.longest, facts.longest)
        self.unspaced += facts.unspaced
        self.words += facts.words
        self.unknown_words += len(facts.unknown)
        self.unknown.update(facts.unknown)
        if len(self.unknown) > _MOST_UNKNOWN:  # the rarest are forgotten
            self.unknown = collections.Counter(dict(self.unknown.most_common(_MOST_UNKNOWN // 2)))

    def add_bad_row(self, where: str, reason: str) -> None:
        """Counts a row or a caption of the source that could not be used."""
        self.bad_rows[reason] += 1
        self._refusals.writerow((where, reason))

    def flush(self) -> None:
        """Writes what is still in memory of the list."""
        if not self._file.closed:
            self._file.flush()

    def rejected_text(self) -> str:
        """Returns the reasons and their counts in words: `12 missing, 3 html`."""
        return ", ".join(f"{count:,} {reason}" for reason, count in self.rejected.most_common())


class SeenKeys:
    """Finds a key that comes twice; on disk, eight bytes a key.

    Args:
      path: a file to make; it is removed by the caller.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._recent = array.array("Q")

    def add(self, key: str) -> None:
        """Remembers a key."""
        self._recent.append(key_hash(key))
        if len(self._recent) >= _KEYS_IN_MEMORY:
            self._flush()

    def any_twice(self) -> bool:
        """Returns whether two keys were equal (for 6 million keys 1 in a million is wrong)."""
        self._flush()
        if not self._path.stat().st_size:
            return False
        hashes = np.memmap(self._path, np.uint64, "r+")
        hashes.sort()  # within the file's pages, which the system may write back
        chunks = range(0, len(hashes), _KEYS_IN_MEMORY)
        pieces = (hashes[start : start + _KEYS_IN_MEMORY + 1] for start in chunks)
        return any((piece[1:] == piece[:-1]).any() for piece in pieces)

    def _flush(self) -> None:
        with self._path.open("ab") as file:
            self._recent.tofile(file)
        del self._recent[:]


def write_records(
    folder: Path,
    source: Source,
    splits: Sequence[Split],
    conversion: Conversion,
    *,
    shard_size: int,
    workers: int,
) -> Counts:
    """Returns what was written into `folder`: all splits' shards, and `rejected.csv`.

    Memory is that of one shard and of the examples in work, whatever the number of images.

    Raises:
      UserError: two images have one key, or their number is not what the source said.
    """
    # Here, because tensorflow_datasets takes a second to import.
    from input_pipeline.prepare.shards import write_shards

    total = sum(source.splits().values())
    with contextlib.ExitStack() as stack:
        listing = (folder / dataset_folder.REJECTED).open("w", encoding="utf-8", newline="")
        counts = Counts(stack.enter_context(listing))
        keys = SeenKeys(folder / _KEYS)
        # In a log file every showing is a line.
        interval = 0.1 if sys.stderr.isatty() else 10
        bar = tqdm(total=total, desc="preparing", unit=" images", mininterval=interval)
        stack.enter_context(bar)
        shards = {}
        for split in splits:
            outcomes = convert(
                source, split.source_split, conversion, wanted=split.wanted, workers=workers
            )
            records = _counted(outcomes, split.name, counts, keys, bar)
            stack.enter_context(contextlib.closing(outcomes))
            stack.enter_context(contextlib.closing(records))
            shards[split.name] = _cut(records, split.expected, shard_size)
        written = write_shards(
            folder,
            shards,
            image_size=conversion.image_size,
            caption_length=conversion.caption_length,
            sentence_dim=conversion.sentence_dim,
            texts=source.vocabulary is None,
        )
        for where, reason in getattr(source, "bad", ()):
            counts.add_bad_row(printable(where), reason)
    if keys.any_twice():
        raise UserError(f"--source={source.name} gave two images of one split the same key")
    (folder / _KEYS).unlink()
    _compare_counts(counts, written, total)
    return counts


def _counted(
    outcomes: Iterable[list[Converted | Rejection]],
    split: str,
    counts: Counts,
    keys: SeenKeys,
    bar: tqdm,
) -> Iterator[Record]:
    """The records among the outcomes, everything noted on the way."""
    for batch in outcomes:
        for outcome in batch:
            counts.add(split, outcome)
            if isinstance(outcome, Converted):
                keys.add(f"{split}\0{outcome.record.key}")
                yield outcome.record
        bar.set_postfix(rejected=counts.rejected.total(), refresh=False)
        bar.update(len(batch))


def _cut(records: Iterator[Record], expected: int, size: int) -> list[Iterator[Record]]:
    """The records in shards of `size`; the last takes what is left, however much it is."""
    full = max(1, math.ceil((expected + 6 * math.sqrt(expected)) / size))
    return [*(itertools.islice(records, size) for _ in range(full)), records]


def _compare_counts(counts: Counts, written: Mapping[str, Sequence[int]], total: int) -> None:
    in_shards = {name: sum(lengths) for name, lengths in written.items()}
    if in_shards != dict(counts.examples):
        raise RuntimeError(
            f"counted {dict(counts.examples)} images, but the shards hold {in_shards}"
        )
    seen = counts.examples.total() + counts.rejected.total()
    if seen != total:
        raise UserError(
            f"the source named {total} images at first and {seen} in the end; leave its files "
            "alone while they are prepared, and run again"
        )
