"""Examples -> records, or reasons why not: many at a time, in order, in bounded memory."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np

from input_pipeline.dataset.records import CODE_DTYPE, Record
from input_pipeline.images import decode as image_files
from input_pipeline.images.decode import Rejected
from input_pipeline.sources.base import Example, Source
from input_pipeline.text.sentence_encoders import SentenceEncoder, sentence_of
from input_pipeline.text.vocabulary import END, UNK, Vocabulary, tokenize

Task = TypeVar("Task")
Result = TypeVar("Result")

# Per worker: enough that none waits for a slow neighbor while the order is kept.
_TASKS_AHEAD = 3


@dataclasses.dataclass(frozen=True)
class Rejection:
    """An image that is not used, and the reason in one word."""

    file: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Conversion:
    """How an example becomes a record.

    Attributes:
      image_size: S, pixels.
      resize: squash or center_crop.
      vocabulary: gives captions their codes.
      caption_length: L, codes of a caption.
      placeholders: digests of `placeholders.repeated_files`.
      sentence_encoder: gives captions their embeddings, or None.
    """

    image_size: int
    resize: str
    vocabulary: Vocabulary
    caption_length: int
    placeholders: frozenset[bytes] = frozenset()
    sentence_encoder: SentenceEncoder | None = None

    @property
    def sentence_dim(self) -> int:
        """E, numbers of a sentence embedding; 0 where there is no encoder."""
        return self.sentence_encoder.identity.dim if self.sentence_encoder else 0

    def record(self, example: Example) -> Record:
        """Returns the record of an example.

        Raises:
          Rejected: its image cannot be used, or no caption has a word.
        """
        # Why there is no image says more than that there is no caption.
        if isinstance(example.image, Rejected):
            raise example.image
        captions = self._codes(example.captions)
        if not len(captions):
            raise Rejected("no_captions")
        pixels = image_files.decode(example.image, placeholders=self.placeholders)
        if pixels.shape[:2] != (self.image_size, self.image_size):
            pixels = image_files.resize(pixels, self.image_size, self.resize)
        return Record(printable(example.key), pixels, captions)

    def _codes(self, captions: tuple[str, ...] | np.ndarray) -> np.ndarray:
        kept = with_words(captions)
        if isinstance(kept, np.ndarray):
            return kept.astype(CODE_DTYPE)
        rows = [self.vocabulary.encode(caption, self.caption_length) for caption in kept]
        return np.array(rows, CODE_DTYPE).reshape(-1, self.caption_length)

    def sentences(self, captions: tuple[str, ...] | np.ndarray) -> list[str]:
        """Returns the captions of a record as texts; codes as words, empty ones left out."""
        kept = with_words(captions)
        if isinstance(kept, np.ndarray):
            return [self.vocabulary.decode(row[row != UNK]) for row in kept]
        return [sentence_of(printable(caption)) for caption in kept]


def with_words(captions: tuple[str, ...] | np.ndarray) -> tuple[str, ...] | np.ndarray:
    """Returns the captions, texts or int [n, L] codes, that have a word in them."""
    if isinstance(captions, np.ndarray):
        return captions[(captions > END).any(axis=1)]
    return tuple(caption for caption in captions if tokenize(caption))


def printable(text: str) -> str:
    """`text` with what UTF-8 cannot say (bytes of a file name in another encoding) escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def convert(
    source: Source,
    split: str,
    conversion: Conversion,
    *,
    wanted: Callable[[str], bool],
    workers: int,
) -> Iterator[list[Record | Rejection]]:
    """Returns records and refusals of a split, some at a time, in the source's order.

    Memory is bounded by the number of workers: they are a few tasks ahead at most.

    Args:
      source: examples are read by the workers too, a range each.
      split: one of the source's.
      conversion: what is done to each example.
      wanted: whether the image of a key belongs here; others are passed over unread.
      workers: threads; image decoders let others run.
    """

    def convert_range(examples: range) -> list[Record | Rejection]:
        outcomes: list[Record | Rejection] = []
        sentences: list[list[str]] = []
        for example in source.examples(split, examples.start, examples.stop):
            if not wanted(example.key):
                continue
            outcomes.append(_converted(conversion, example))
            if conversion.sentence_encoder and isinstance(outcomes[-1], Record):
                sentences.append(conversion.sentences(example.captions))
        if conversion.sentence_encoder is None:
            return outcomes
        return _with_sentences(outcomes, sentences, conversion.sentence_encoder)

    number = source.splits()[split]
    size = _task_size(conversion.image_size)
    ranges = (range(start, min(start + size, number)) for start in range(0, number, size))
    return in_order(convert_range, ranges, workers)


def _converted(conversion: Conversion, example: Example) -> Record | Rejection:
    try:
        return conversion.record(example)
    except Rejected as error:
        return Rejection(printable(example.file or example.key), error.reason)


def _with_sentences(
    outcomes: list[Record | Rejection], sentences: list[list[str]], encoder: SentenceEncoder
) -> list[Record | Rejection]:
    """The same outcomes, each record with the embeddings of its sentences: encoded together."""
    rows = encoder([sentence for texts in sentences for sentence in texts])
    ends = np.cumsum([len(texts) for texts in sentences], dtype=int)
    parts = iter(np.split(rows, ends[:-1]))
    return [
        dataclasses.replace(outcome, sentences=next(parts))
        if isinstance(outcome, Record)
        else outcome
        for outcome in outcomes
    ]


def _task_size(image_size: int) -> int:
    """Images in one task: about a megabyte when they are ready."""
    return int(np.clip(2**20 // (3 * image_size**2), 4, 64))


def in_order(
    function: Callable[[Task], Result], tasks: Iterable[Task], workers: int
) -> Iterator[Result]:
    """`map(function, tasks)` by threads that are a bounded number of tasks ahead."""
    pending: collections.deque[concurrent.futures.Future[Result]] = collections.deque()
    with concurrent.futures.ThreadPoolExecutor(workers, "prepare") as pool:
        try:
            for task in tasks:
                pending.append(pool.submit(function, task))
                if len(pending) >= _TASKS_AHEAD * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:  # an exception, or the reader has had enough
            for future in pending:
                future.cancel()
