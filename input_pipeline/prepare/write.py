"""From a source to shards: which image goes into which split, what is counted, what is listed."""

from __future__ import annotations

import array
import collections
import contextlib
import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
from tqdm import tqdm

from input_pipeline.dataset import folder as dataset_folder
from input_pipeline.errors import UserError
from input_pipeline.prepare.convert import Conversion, Converted, Rejection, convert, printable
from input_pipeline.prepare.splits import Split, key_hash
from input_pipeline.sources.base import Source

if TYPE_CHECKING:
    from input_pipeline.prepare.shards import SplitWriter

KEYS = "keys.tmp"
_KEYS_IN_MEMORY = 1 << 16
_MOST_UNKNOWN = 20_000  # words
_COUNTERS = ("examples", "captions", "rejected", "unknown")
_SUMS = ("cut", "unspaced", "words", "unknown_words")


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

    def add_rejection(self, rejection: Rejection) -> None:
        """Counts an image that is not used."""
        self.rejected[rejection.reason] += 1
        self._refusals.writerow((rejection.file, rejection.reason))

    def add(self, split: str, outcome: Converted) -> None:
        """Counts an image that is."""
        facts = outcome.facts
        self.examples[split] += 1
        self.captions[split] += len(outcome.record.captions)
        self.cut += facts.cut
        self.longest = max(self.longest, facts.longest)
        self.unspaced += facts.unspaced
        self.words += facts.words
        self.unknown_words += len(facts.unknown)
        self.unknown.update(facts.unknown)
        self._forget_rare()

    def _forget_rare(self) -> None:
        if len(self.unknown) > _MOST_UNKNOWN:
            self.unknown = collections.Counter(dict(self.unknown.most_common(_MOST_UNKNOWN // 2)))

    def add_bad_row(self, where: str, reason: str) -> None:
        """Counts a row or a caption of the source that could not be used."""
        self.bad_rows[reason] += 1
        self._refusals.writerow((where, reason))

    def to_json(self) -> dict[str, Any]:
        """Returns all counts; the list of refusals is not among them."""
        return {name: getattr(self, name) for name in (*_COUNTERS, *_SUMS, "longest")}

    def merge(self, counts: Mapping[str, Any], refusals: str) -> None:
        """Adds what another machine has counted of the examples that follow.

        Args:
          counts: of its `to_json`.
          refusals: its list, without the line of names.
        """
        for name in _COUNTERS:
            getattr(self, name).update(counts[name])
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + counts[name])
        self.longest = max(self.longest, counts["longest"])
        self._file.write(refusals)
        self._forget_rare()

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

    def add_hashes(self, hashes: bytes) -> None:
        """Remembers keys that another machine has seen, as `finish` left them in its file."""
        self._flush()
        with self._path.open("ab") as file:
            file.write(hashes)

    def finish(self) -> None:
        """Writes all to the file."""
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

    Memory is that of the examples in work, whatever the number of images.

    Raises:
      UserError: two images have one key, or their number is not what the source said.
    """
    # Here, because tensorflow_datasets takes a second to import.
    from input_pipeline.prepare.shards import SplitWriter, write_metadata

    total = sum(source.splits().values())
    with contextlib.ExitStack() as stack:
        listing = (folder / dataset_folder.REJECTED).open("w", encoding="utf-8", newline="")
        counts = Counts(stack.enter_context(listing))
        keys = SeenKeys(folder / KEYS)
        # In a log file every showing is a line.
        interval = 0.1 if sys.stderr.isatty() else 10
        bar = tqdm(total=total, desc="preparing", unit=" images", mininterval=interval)
        stack.enter_context(bar)
        sizes = conversion.image_size, conversion.caption_length
        writers = {split.name: SplitWriter(folder, split.name, *sizes) for split in splits}
        for writer in writers.values():
            stack.callback(writer.end_shard)
        # In one pass for all splits that a source's split is divided into: tars are streams.
        for source_split in dict.fromkeys(split.source_split for split in splits):
            parts = [split for split in splits if split.source_split == source_split]
            outcomes = convert(source, source_split, conversion, workers=workers)
            stack.enter_context(contextlib.closing(outcomes))
            for batch in outcomes:
                for outcome in batch:
                    write_outcome(outcome, parts, writers, shard_size, counts, keys)
                bar.set_postfix(rejected=counts.rejected.total(), refresh=False)
                bar.update(len(batch))
        for writer in writers.values():
            writer.finish()
        written = {name: writer.lengths for name, writer in writers.items() if writer.lengths}
        if written:
            write_metadata(
                folder,
                written,
                image_size=conversion.image_size,
                caption_length=conversion.caption_length,
                sentence_dim=conversion.sentence_dim,
                texts=source.vocabulary is None,
            )
        for where, reason in getattr(source, "bad", ()):
            counts.add_bad_row(printable(where), reason)
    check_written(source, keys, counts, written)
    (folder / KEYS).unlink()
    return counts


def check_written(
    source: Source, keys: SeenKeys, counts: Counts, written: Mapping[str, Sequence[int]]
) -> None:
    """Compares what was written with what the source said.

    Raises:
      UserError: two images have one key, or their number is not what the source said.
      RuntimeError: the shards hold another number of images than was counted.
    """
    if keys.any_twice():
        raise UserError(f"--source={source.name} gave two images of one split the same key")
    _compare_counts(counts, written, sum(source.splits().values()))


def write_outcome(
    outcome: Converted | Rejection,
    splits: Sequence[Split],
    writers: Mapping[str, SplitWriter],
    shard_size: int,
    counts: Counts,
    keys: SeenKeys,
) -> None:
    """Notes an image, and writes its record into its split."""
    if isinstance(outcome, Rejection):
        counts.add_rejection(outcome)
        return
    record = outcome.record
    name = next(split.name for split in splits if split.wanted(record.key))
    counts.add(name, outcome)
    keys.add(f"{name}\0{record.key}")
    writer = writers[name]
    writer.write(record)
    if writer.lengths[-1] == shard_size:
        writer.end_shard()


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
