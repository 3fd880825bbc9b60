"""Batches for training and evaluation: host arrays, ready ahead of whoever asks for them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import grain
import numpy as np

from input_pipeline.dataset.cache import Cache, InMemory, cached
from input_pipeline.dataset.open import Dataset
from input_pipeline.dataset.reader import ShardReader
from input_pipeline.errors import UserError
from input_pipeline.stream.order import EpochOrder, drawn_captions, flips, negative_captions

Batch = dict[str, Any]

_THREADS = 2  # more are slower: they wait for each other at the interpreter's lock
_MOST_AHEAD = 8
_BYTES_AHEAD = 1 << 29


class _TrainBatches:
    """This process's share of the batch at each step, as a random-access source for grain."""

    def __init__(
        self,
        records: ShardReader | InMemory,
        order: EpochOrder,
        share: slice,
        seed: int,
        flip: bool,
        negatives: slice,
    ) -> None:
        self._records = records
        self._order = order
        self._share = share
        self._seed = seed
        self._flip = flip
        self._negatives = negatives

    @property
    def num_images(self) -> int:
        return self._order.num_images

    def __len__(self) -> int:
        return sys.maxsize // self._order.batch_size  # steps without an end

    def __getitem__(self, step: int) -> Batch:
        epochs, indices = (rows[self._share] for rows in self._order.batch(step))
        records = self._records.__getitems__(indices)
        captions = records["captions"]
        counts = np.fromiter(map(len, captions), np.int64, len(captions))
        drawn = drawn_captions(self._seed, epochs, indices, counts)
        if self._flip:
            _mirror(records["image"], np.flatnonzero(flips(self._seed, epochs, indices)))
        batch = {"image": records["image"], **drawn_text(records, drawn)}
        if self._negatives.stop:
            negatives = self._extra_negatives(step)
            batch |= {f"negative_{name}": rows for name, rows in negatives.items()}
        return batch

    def _extra_negatives(self, step: int) -> Batch:
        """This process's share of the step's further captions."""
        rows = np.arange(self._negatives.start, self._negatives.stop)
        indices, draws = negative_captions(self._seed, step, rows, self._order.num_images)
        records = self._records.texts(indices)
        counts = np.fromiter(map(len, records["captions"]), np.int64, len(rows))
        return drawn_text(records, draws % counts)


def drawn_text(records: Batch, which: np.ndarray) -> Batch:
    """Returns one caption of each image: {"codes": int32 [n, L]}, and "sentence": float16 [n, E] if
    read.

    Args:
      records: of a `ShardReader`.
      which: int [n] place of the caption among the image's.
    """
    text = {"codes": _take(records["captions"], which)}
    if "sentences" in records:
        text["sentence"] = _take(records["sentences"], which)
    return text


def _take(captions: Sequence[np.ndarray], which: np.ndarray) -> np.ndarray:
    """[n, ...] row of one caption of each image."""
    return np.stack([rows[k] for rows, k in zip(captions, which.tolist(), strict=True)])


def _mirror(images: np.ndarray, rows: np.ndarray) -> None:
    """Mirrors some rows in place, left to right; by channel it takes a fourth of the time."""
    mirrored = images[rows, :, ::-1]
    for channel in range(3):
        images[rows, :, :, channel] = mirrored[..., channel]


class TrainStream:
    """Endless iterator of training batches; `train_stream` makes it.

    Once it has raised it raises the same again, until it is sent to a step: no batch is ever
    skipped. Close it, or use it in a `with` block, to end its threads.

    Attributes:
      step: of the batch that `next` gives, >= 0.
      num_images: in the split; that many rows are an epoch.
    """

    def __init__(self, batches: _TrainBatches, identity: Mapping[str, Any], ahead: int) -> None:
        self.step = 0
        self.num_images = batches.num_images
        self._identity = dict(identity)
        self._failure: BaseException | None = None
        options = grain.ReadOptions(num_threads=min(_THREADS, ahead), prefetch_buffer_size=ahead)
        self._iterator = iter(grain.MapDataset.source(batches).to_iter_dataset(options))

    def __iter__(self) -> TrainStream:
        return self

    def __next__(self) -> Batch:
        """{"image": uint8 [B / P, S, S, 3], "codes": int32 [B / P, L]}, P the process count.

        Where embeddings are read, "sentence": float16 [B / P, E] of the same captions too. With
        extra negatives, "negative_codes": int32 [extra_negatives / P, L] and "negative_sentence".
        """
        if self._failure is not None:
            raise self._failure
        try:
            batch = next(self._iterator)
        except BaseException as error:
            self._failure = error
            raise
        self.step += 1
        return batch

    def seek(self, step: int) -> None:
        """Goes to a step, >= 0, at once: the next batch is the one of that step."""
        if step < 0:
            raise UserError(f"step is {step}; 0 or more are allowed")
        grain.experimental.set_next_index(self._iterator, step)
        self._failure = None
        self.step = step

    def state(self, step: int | None = None) -> dict[str, Any]:
        """Returns what `restore` needs, to be kept as JSON: a step, and what it is a step of.

        Args:
          step: where to go on; the stream's own unless told. A loop that takes batches ahead of
            its steps gives its own.
        """
        return {"step": self.step if step is None else step, **self._identity}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on where `state` was taken, in this process or in another, with any share.

        Raises:
          UserError: it is the state of a stream of other data, seed or batch size.
        """
        step = state.get("step")
        if not isinstance(step, int) or isinstance(step, bool):
            raise UserError("the saved state of the data stream has no step: start a new run")
        for name, mine in self._identity.items():
            if (theirs := state.get(name)) != mine:
                raise UserError(
                    f"the run was made with {name} {theirs!r} of the data, and now it is {mine!r}: "
                    "put it back to go on, or start a new run in another workdir"
                )
        self.seek(step)

    def close(self) -> None:
        """Ends the threads that read ahead. Nothing can be read after it."""
        self._iterator.close()

    def __enter__(self) -> TrainStream:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def train_stream(
    dataset: Dataset,
    split: str = "train",
    *,
    batch_size: int,
    seed: int,
    flip: bool = False,
    process_index: int = 0,
    process_count: int = 1,
    cache: Cache = "auto",
    sentences: bool = False,
    extra_negatives: int = 0,
) -> TrainStream:
    """Shuffled training batches, epoch after epoch, this process's share of each.

    The batch at step k depends on the data, `seed`, k and `batch_size` alone: not on the number of
    processes or threads, nor on the steps before. An epoch has each image once, with one of its
    captions; a batch has no image twice.

    Args:
      dataset: a prepared data set.
      split: its split, or a part like `train[:85%]`.
      batch_size: global batch size B, from 1 to the number of images.
      seed: of the order, the captions and the flips.
      flip: whether each image is mirrored in half of the epochs, by chance.
      process_index: i; the share is the i-th of P equal parts of the batch.
      process_count: P, which divides B.
      cache: whether images stay in memory once read: "auto", "memory" or "none".
      sentences: give the captions' embeddings too. Images and captions are the same either way.
      extra_negatives: more captions a step over all processes, of images drawn by chance; the rest
        is the same with and without.

    Raises:
      UserError: the batch is larger than the split or cannot be divided, the split does not exist,
        a shard is damaged, or there are no embeddings.
    """
    share = _equal_share(batch_size, process_index, process_count)
    source = dataset.source(split, sentences)
    order = EpochOrder(len(source), batch_size, seed)
    negatives = slice(0, 0)
    if extra_negatives:
        negatives = _equal_share(extra_negatives, process_index, process_count)
    batches = _TrainBatches(cached(source, cache), order, share, seed, flip, negatives)
    identity = {
        "fingerprint": dataset.hash,
        "split": split,
        "batch_size": batch_size,
        "seed": seed,
        "flip": flip,
    }
    batch_bytes = (share.stop - share.start) * dataset.image_size**2 * 3
    return TrainStream(batches, identity, min(_MOST_AHEAD, max(2, _BYTES_AHEAD // batch_bytes)))


def _equal_share(batch_size: int, index: int, count: int) -> slice:
    if count < 1 or batch_size < 1 or batch_size % count:
        raise UserError(
            f"batch_size is {batch_size} and there are {count} processes; each reads an equal "
            f"share: choose a multiple of {max(1, count)}"
        )
    if not 0 <= index < count:
        raise UserError(f"process_index is {index}; 0 to {count - 1} are allowed")
    rows = batch_size // count
    return slice(index * rows, (index + 1) * rows)


def eval_batches(
    dataset: Dataset,
    split: str,
    *,
    batch_size: int,
    captions: Literal["first", "drawn", "all"] = "first",
    seed: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    sentences: bool = False,
) -> Iterator[Batch]:
    """Returns batches of a split in its order, the last one short; nothing is left out or seen
    twice.

    Args:
      dataset: a prepared data set.
      split: its split, or a part like `test[:1000]`.
      batch_size: rows of a batch over all processes, >= 1.
      captions: of each image the first, one drawn by `seed`, or all (a row for each).
      seed: of the draw.
      process_index: i; the share is the i-th of P parts of each batch, equal but for one row: every
        process gets the same number of batches, the last may be empty.
      process_count: P.
      sentences: give the captions' embeddings too.

    Returns:
      An iterator of {"image": uint8 [n, S, S, 3], "codes": int32 [n, L], "key": list of n texts,
      "index": int64 [n] index of the image in the split}, and "sentence": float16 [n, E] if asked.

    Raises:
      UserError: an argument is out of its range, the split does not exist, or a shard is damaged.
    """
    if captions not in ("first", "drawn", "all"):
        raise UserError(f"captions is {captions!r}; first, drawn and all are allowed")
    if batch_size < 1 or not 0 <= process_index < process_count:
        raise UserError(
            f"batch_size is {batch_size}, process {process_index} of {process_count}; "
            "a batch has at least 1 row, and processes count from 0"
        )
    rows = _eval_rows(dataset.source(split, sentences), batch_size, captions, seed)
    return (_share(batch, process_index, process_count) for batch in _batched(rows, batch_size))


def _eval_rows(source: ShardReader, read_size: int, captions: str, seed: int) -> Iterator[Batch]:
    """All rows of a split in order, those of `read_size` images at a time."""
    for first in range(0, len(source), read_size):
        index = np.arange(first, min(first + read_size, len(source)))
        records = source.__getitems__(index)
        counts = np.array([len(rows) for rows in records["captions"]])
        if captions == "all":
            row = np.repeat(np.arange(len(index)), counts)
            text = {"codes": np.concatenate(records["captions"])}
            if "sentences" in records:
                text["sentence"] = np.concatenate(records["sentences"])
            image, key = records["image"][row], [records["key"][r] for r in row]
            yield {"image": image, **text, "key": key, "index": index[row]}
        else:
            which = np.zeros_like(index)
            if captions == "drawn":
                which = drawn_captions(seed, which, index, counts)
            text = drawn_text(records, which)
            yield {"image": records["image"], **text, "key": records["key"], "index": index}


def _batched(parts: Iterator[Batch], batch_size: int) -> Iterator[Batch]:
    """The same rows, `batch_size` at a time."""
    held: Batch = {}
    for part in parts:
        held = {name: _joined(held.get(name), rows) for name, rows in part.items()}
        while len(held["key"]) >= batch_size:
            yield {name: rows[:batch_size] for name, rows in held.items()}
            held = {name: rows[batch_size:] for name, rows in held.items()}
    if held.get("key"):
        yield held


def _joined(held: Any, rows: Any) -> Any:
    if held is None or not len(held):
        return rows
    return held + rows if isinstance(rows, list) else np.concatenate([held, rows])


def _share(batch: Batch, index: int, count: int) -> Batch:
    start, stop = (len(batch["key"]) * i // count for i in (index, index + 1))
    return {name: rows[start:stop] for name, rows in batch.items()}
