"""Random access to the records of one split, by batch, whatever lies damaged on the disk."""

from __future__ import annotations

import dataclasses
import functools
import math
import operator
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
from array_record.python import array_record_module

from input_pipeline.dataset.records import Record, decode, decode_texts
from input_pipeline.errors import UserError

# Reading ahead is of no use to records in random order.
_READER_OPTIONS = "readahead_buffer_size:0"
_READ_BYTES = 16384
_OTHER_OPEN_FILES = 256


@dataclasses.dataclass(frozen=True)
class Shard:
    """One file of a split and the number of records that it has to hold."""

    path: Path
    num_records: int


class ShardReader:
    """The records of a split, or of a range of it.

    Every chunk of an ArrayRecord file carries a hash that is compared when it is read, so a damaged
    byte is an error and never another image. May be used by several threads.

    Args:
      shards: files of the split, in order.
      image_size: S, pixels.
      caption_length: L, codes.
      vocab_size: codes are below it.
      start, stop: range of the split's records to give; all unless told.
      sentence_shape: of a caption's embedding, [E] or [1 + T, E]; () to leave embeddings unread.

    Raises:
      UserError: a shard is missing, unreadable, or holds another number of records.
    """

    def __init__(
        self,
        shards: Sequence[Shard],
        *,
        image_size: int,
        caption_length: int,
        vocab_size: int,
        start: int = 0,
        stop: int | None = None,
        sentence_shape: tuple[int, ...] = (),
    ) -> None:
        self.image_size = image_size
        self.sentence_shape = sentence_shape
        self.sentence_dim = math.prod(sentence_shape) if sentence_shape else 0
        self.caption_length = caption_length
        self._vocab_size = vocab_size
        self._shards = shards
        self._ends = np.cumsum([shard.num_records for shard in shards])
        self._start = start
        self._length = (int(self._ends[-1]) if stop is None else stop) - start
        may_be_open = _allow_open_files(len(shards))
        # What falls out of the cache is closed when the last thread that reads from it is done.
        self._reader = functools.lru_cache(maxsize=may_be_open)(self._open)
        for shard in range(len(shards)):
            self._reader(shard)
        self._read_shard(0, [0])  # whether records are of the shape that they are said to be

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: SupportsIndex) -> dict[str, Any]:
        """Record at an index: `key`, `image` uint8 [S, S, 3], `captions` int32 [n, L].

        Raises:
          IndexError: it is not in 0 to len - 1.
          UserError: the record is damaged.
        """
        batch = self.__getitems__([operator.index(index)])
        return {name: values[0] for name, values in batch.items()}

    def __getitems__(self, indices: Sequence[int] | np.ndarray) -> dict[str, Any]:
        """Records at indices: `key` list, `image` uint8 [n, S, S, 3], `captions` list of [n_i, L].

        Where embeddings are read, `sentences` too: a list of float16 [n_i, *sentence_shape].

        Raises:
          IndexError: one is not in 0 to len - 1.
          UserError: a record is damaged.
        """
        indices = np.asarray(indices, np.int64).reshape(-1)
        if len(indices) and not 0 <= indices.min() <= indices.max() < len(self):
            raise IndexError(f"an index is outside 0 to {len(self) - 1}")
        keys = [""] * len(indices)
        captions: list[Any] = [None] * len(indices)
        sentences: list[Any] = [None] * len(indices)
        images = np.empty((len(indices), self.image_size, self.image_size, 3), np.uint8)
        for row, record in self._read(indices + self._start):
            keys[row] = record.key
            images[row] = record.image
            captions[row] = record.captions.astype(np.int32)
            if record.sentences is not None:
                sentences[row] = record.sentences.reshape(-1, *self.sentence_shape)
        found = {"key": keys, "image": images, "captions": captions}
        return found | {"sentences": sentences} if self.sentence_dim else found

    def texts(self, indices: Sequence[int] | np.ndarray) -> dict[str, Any]:
        """Returns the same without the images."""
        found = self.__getitems__(indices)
        return {name: found[name] for name in found if name not in ("key", "image")}

    def written(self, indices: Sequence[int] | np.ndarray) -> list[tuple[str, ...]]:
        """Returns the captions of records as they were written; () where only codes are known.

        Raises:
          IndexError: an index is not in 0 to len - 1.
          UserError: a record is damaged.
        """
        found: list[tuple[str, ...]] = []
        for index in map(operator.index, indices):
            if not 0 <= index < len(self):
                raise IndexError(f"an index is outside 0 to {len(self) - 1}")
            place = index + self._start
            shard = int(np.searchsorted(self._ends, place, side="right"))
            first = int(self._ends[shard]) - self._shards[shard].num_records
            try:
                [data] = self._reader(shard).read([place - first])
                found.append(decode_texts(data))
            except (RuntimeError, ValueError, OSError, IndexError) as error:
                raise _damaged(self._shards[shard].path, error) from error
        return found

    def _read(self, indices: np.ndarray) -> Iterator[tuple[int, Record]]:
        """Row and record of each index, shard by shard."""
        shards = np.searchsorted(self._ends, indices, side="right")
        by_shard = np.argsort(shards, kind="stable")
        bounds = np.flatnonzero(np.diff(shards[by_shard])) + 1
        for rows in np.split(by_shard, bounds) if len(indices) else ():
            shard = int(shards[rows[0]])
            first = int(self._ends[shard]) - self._shards[shard].num_records
            positions = (indices[rows] - first).tolist()
            yield from zip(rows.tolist(), self._read_shard(shard, positions), strict=True)

    def _read_shard(self, shard: int, positions: list[int]) -> list[Record]:
        try:
            return [self._decode(data) for data in self._reader(shard).read(positions)]
        # ArrayRecord raises RuntimeError or its kin for whatever it meets in a file.
        except (RuntimeError, ValueError, OSError, IndexError) as error:
            raise _damaged(self._shards[shard].path, error) from error

    def _decode(self, data: bytes) -> Record:
        record = decode(data, self.image_size, self.caption_length, self.sentence_dim)
        if not len(record.captions):
            raise ValueError(f"the record {record.key!r} has no caption")
        if (code := int(record.captions.max())) >= self._vocab_size:
            raise ValueError(f"code {code} in a vocabulary of {self._vocab_size} words")
        return record

    def _open(self, shard: int) -> Any:
        path, expected = self._shards[shard].path, self._shards[shard].num_records
        if not path.is_file():
            raise UserError(
                f"the shard {path} is missing: restore it or prepare the data set again"
            )
        try:
            reader = array_record_module.ArrayRecordReader(
                str(path), options=_READER_OPTIONS, file_reader_buffer_size=_READ_BYTES
            )
            found = reader.num_records()
        except (RuntimeError, ValueError, OSError) as error:
            raise _damaged(path, error) from error
        if found != expected:
            raise _damaged(path, f"it holds {found} records, {expected} are expected")
        return reader


def _damaged(path: Path, error: object) -> UserError:
    reason = " ".join(str(error).split())[:200]
    return UserError(
        f"the shard {path} is damaged or unreadable ({reason}): restore it or prepare the data set "
        "again; `sha256sum -c SHA256SUMS` in its folder checks all files"
    )


def _allow_open_files(wanted: int) -> int:
    """How many of `wanted` files may stay open, after raising the process's soft limit for them."""
    try:
        import resource
    except ImportError:  # Windows, which lets a process open as many as it likes
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    needed = wanted + _OTHER_OPEN_FILES
    limit = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if limit > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        soft = limit
    return max(1, min(wanted, soft - _OTHER_OPEN_FILES))
