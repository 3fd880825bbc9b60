"""Examples -> records, or reasons why not: many at a time, in order, in bounded memory."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import itertools
from collections.abc import Callable, Container, Generator, Iterable, Sequence
from typing import TypeVar

import numpy as np

from input_pipeline.dataset.records import CODE_DTYPE, Record
from input_pipeline.images import decode as image_files
from input_pipeline.images.decode import Rejected
from input_pipeline.images.quiet_warnings import quiet_warnings
from input_pipeline.sources.base import Example, Source
from input_pipeline.text.sentence_encoders import SentenceEncoder, sentence_of
from input_pipeline.text.vocabulary import END, UNK, Vocabulary, is_unspaced, tokenize

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
      placeholders: of `decode`.
      resampling: bicubic or lanczos.
      sentence_encoder: gives captions their embeddings, or None.
    """

    image_size: int
    resize: str
    vocabulary: Vocabulary
    caption_length: int
    placeholders: Container[bytes] = frozenset()
    resampling: str = "bicubic"
    sentence_encoder: SentenceEncoder | None = None

    @property
    def sentence_dim(self) -> int:
        """Numbers that are stored of a caption's embedding; 0 where there is no encoder."""
        return self.sentence_encoder.identity.size if self.sentence_encoder else 0

    def record(self, example: Example) -> Converted:
        """Returns the record of an example, and what its captions lack in it.

        Raises:
          Rejected: its image cannot be used, or no caption has a word.
        """
        # Why there is no image says more than that there is no caption.
        if isinstance(example.image, Rejected):
            raise example.image
        if isinstance(example.captions, np.ndarray):
            codes = with_words(example.captions).astype(CODE_DTYPE)
            texts, facts = None, CaptionFacts()
        else:
            codes, texts, facts = self._encoded(example.captions)
        if not len(codes):
            raise Rejected("no_captions")
        pixels = image_files.decode_to(
            example.image,
            self.image_size,
            self.resize,
            placeholders=self.placeholders,
            resampling=self.resampling,
        )
        return Converted(Record(printable(example.key), pixels, codes, texts=texts), facts)

    def _encoded(self, captions: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...], CaptionFacts]:
        rows, texts, facts = [], [], CaptionFacts()
        for caption in captions:
            words = tokenize(caption)
            if not words:
                continue
            rows.append(self.vocabulary.codes_of(words, self.caption_length))
            texts.append(printable(caption))
            facts.cut += len(words) > self.caption_length - 2
            facts.longest = max(facts.longest, len(words))
            facts.unspaced += is_unspaced(caption)
            facts.words += len(words)
            facts.unknown += [word for word in words if word not in self.vocabulary.codes]
        codes = np.array(rows, CODE_DTYPE).reshape(-1, self.caption_length)
        return codes, tuple(texts), facts

    def sentences(self, record: Record) -> list[str]:
        """Returns the captions of a record as texts; codes as words."""
        if record.texts is None:
            return [self.vocabulary.decode(row[row != UNK]) for row in record.captions]
        return [sentence_of(text) for text in record.texts]


@dataclasses.dataclass
class CaptionFacts:
    """What a record's captions have lost on the way to codes.

    Attributes:
      cut: captions with more words than there are codes.
      longest: words of the longest caption.
      unspaced: captions that are split by character.
      words: words of all captions.
      unknown: those without a code.
    """

    cut: int = 0
    longest: int = 0
    unspaced: int = 0
    words: int = 0
    unknown: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Converted:
    """A record, and what its captions have lost."""

    record: Record
    facts: CaptionFacts


def with_words(captions: np.ndarray) -> np.ndarray:
    """Returns the captions, int [n, L] codes, that have a word in them."""
    return captions[(captions > END).any(axis=1)]


def printable(text: str) -> str:
    """`text` with what UTF-8 cannot say (bytes of a file name in another encoding) escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def convert(
    source: Source,
    split: str,
    conversion: Conversion,
    *,
    workers: int,
) -> Generator[list[Converted | Rejection]]:
    """Returns records and refusals of a split, some at a time, in the source's order.

    Memory is bounded by the number of workers: they are a few tasks ahead at most.

    Args:
      source: examples are read by the workers too, a range each.
      split: one of the source's.
      conversion: what is done to each example.
      workers: threads; image decoders let others run.
    """

    def convert_all(examples: Iterable[Example]) -> list[Converted | Rejection]:
        with quiet_warnings():  # once, and not at each image
            outcomes = [_converted(conversion, each) for each in examples]
        if conversion.sentence_encoder is None:
            return outcomes
        return _with_sentences(outcomes, conversion)

    def convert_range(examples: range) -> list[Converted | Rejection]:
        return convert_all(source.examples(split, examples.start, examples.stop))

    size = task_size(conversion.image_size)
    if hasattr(source, "stream"):  # from front to back: read by this thread, decoded by others
        examples = source.stream(split)
        batches = iter(lambda: list(itertools.islice(examples, size)), [])
        return in_order(convert_all, batches, workers)
    number = source.splits()[split]
    ranges = (range(start, min(start + size, number)) for start in range(0, number, size))
    return in_order(convert_range, ranges, workers)


def _converted(conversion: Conversion, example: Example) -> Converted | Rejection:
    try:
        return conversion.record(example)
    except Rejected as error:
        return Rejection(printable(example.file or example.key), error.reason)


def _with_sentences(
    outcomes: list[Converted | Rejection], conversion: Conversion
) -> list[Converted | Rejection]:
    """The same outcomes, each record with the embeddings of its captions: encoded together."""
    texts = [conversion.sentences(each.record) for each in outcomes if isinstance(each, Converted)]
    assert conversion.sentence_encoder is not None
    rows = conversion.sentence_encoder([text for several in texts for text in several])
    ends = np.cumsum([len(several) for several in texts], dtype=int)
    parts = iter(np.split(rows, ends[:-1]))
    return [
        Converted(dataclasses.replace(each.record, sentences=next(parts)), each.facts)
        if isinstance(each, Converted)
        else each
        for each in outcomes
    ]


def task_size(image_size: int) -> int:
    """Returns images in one task: about a megabyte when they are ready."""
    return int(np.clip(2**20 // (3 * image_size**2), 4, 64))


def in_order(
    function: Callable[[Task], Result], tasks: Iterable[Task], workers: int
) -> Generator[Result]:
    """`map(function, tasks)` by threads that are a bounded number of tasks ahead.

    One worker is this thread: two would only wait for each other.
    """
    if workers == 1:
        yield from map(function, tasks)
        return
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
