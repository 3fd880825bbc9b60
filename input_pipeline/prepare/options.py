"""The options of `prepare`, and what they and the source decide before an image is decoded."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from input_pipeline.errors import UserError
from input_pipeline.images.decode import Rejected
from input_pipeline.images.placeholders import RepeatedFiles
from input_pipeline.prepare.convert import Conversion
from input_pipeline.prepare.splits import SplitAssignment
from input_pipeline.sources.base import Example, Source
from input_pipeline.text import vocabulary as vocabularies
from input_pipeline.text import word_vectors as tables
from input_pipeline.text.sentence_encoders import SentenceEncoder, open_encoder
from input_pipeline.text.vocabulary import Vocabulary

DEFAULT_CAPTION_LENGTH = 17
DEFAULT_DIM = 200
DEFAULT_PARTS = {"validation": 0.15, "test": 0.0}
FEW = 1000  # images, of which a hash may put none in a small part
_SHARD_BYTES = 64 * 1024 * 1024


@dataclasses.dataclass(frozen=True)
class PrepareOptions:
    """How a data set is made.

    Attributes:
      source: name of a kind of input, or of a module of your own.
      out: folder to make.
      overwrite: replace a data set there, once this one is complete.
      image_size: S, pixels a side.
      resize: squash or center_crop.
      resampling: bicubic or lanczos.
      word_vectors: GloVe text file; None draws vectors from the seed.
      word_vector_dim: numbers a word where vectors are drawn.
      vocab_size: words where the source has no list; None for 1,004, or as many as cover 99 % of
        the words in the captions.
      caption_length: codes a caption, start and end included.
      sentence_encoder: name of the encoder whose embeddings are stored, or None.
      caption_tokens: of each caption whose embeddings are stored too.
      validation_fraction: part of train.
      test_fraction: part of train.
      seed: of the split assignment and of drawn vectors.
      workers: threads; None for one a processor.
      shard_size: images a shard; None for 2000, fewer if they are large.
      max_images: of each of the source's splits; None for all.
      source_flags: the source's own.
    """

    source: str = ""
    out: str = ""
    overwrite: bool = False
    image_size: int = 64
    resize: str = "squash"
    resampling: str = "bicubic"
    word_vectors: str | None = None
    word_vector_dim: int | None = None
    vocab_size: int | None = None
    caption_length: int | None = None
    sentence_encoder: str | None = None
    caption_tokens: int = 0
    validation_fraction: float | None = None
    test_fraction: float | None = None
    seed: int = 0
    workers: int | None = None
    shard_size: int | None = None
    max_images: int | None = None
    source_flags: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> PrepareOptions:
        """Returns options of values by name; those that are no field are the source's own."""
        names = {field.name for field in dataclasses.fields(cls)}
        own = {name: value for name, value in values.items() if name not in names}
        return cls(**{name: values[name] for name in names & values.keys()}, source_flags=own)

    def flags_of_source(self) -> argparse.Namespace:
        """Returns what a source's `open_source` takes: its own flags, and these options."""
        return argparse.Namespace(**vars(self) | dict(self.source_flags))


def division(options: PrepareOptions, source: Source) -> SplitAssignment:
    """Returns how the images of train are divided into the splits that the source lacks.

    Raises:
      UserError: a part is out of range, or of a split that the source has.
    """
    names = source.splits()
    assignment = division_by_hash(options, names)
    if names["train"] > FEW:
        return assignment
    keys = [key for key, _ in captions_by_key(source, "train")]
    return assignment.with_each_part(keys)


def division_by_hash(options: PrepareOptions, names: Mapping[str, int]) -> SplitAssignment:
    """Returns the same where there are many images: a small part may be left without any.

    Args:
      options: the parts that are asked for.
      names: images of each split of the source.

    Raises:
      UserError: see `division`.
    """
    if not names.get("train"):
        raise UserError(f"--source={options.source} has no image for the split train")
    parts = {"validation": options.validation_fraction, "test": options.test_fraction}
    for name, part in parts.items():
        if part is not None and not 0 <= part < 1:
            raise UserError(f"--{name}_fraction={part}: 0 to 1 is allowed, 1 excluded")
        if part and name in names:
            raise UserError(
                f"--{name}_fraction={part}: this source has a split {name} of its own; leave it out"
            )
    shares = {
        name: 0.0 if name in names else DEFAULT_PARTS[name] if part is None else part
        for name, part in parts.items()
    }
    if sum(shares.values()) >= 1:
        raise UserError("--validation_fraction and --test_fraction leave nothing to train on")
    return SplitAssignment(options.seed, shares["validation"], shares["test"])


def vocabulary(options: PrepareOptions, source: Source, division: SplitAssignment) -> Vocabulary:
    """Returns the source's own words, or the most frequent ones of the captions that stay in train.

    Raises:
      UserError: the size is out of range, or the source brings its words.
    """
    if source.vocabulary is not None:
        if options.vocab_size is not None:
            raise UserError(
                f"--vocab_size: --source={options.source} brings its own words; leave out"
            )
        return source.vocabulary
    return vocabularies.build(_train_captions(source, division), options.vocab_size)


def _train_captions(source: Source, division: SplitAssignment) -> Iterator[str]:
    """Captions of the images that are there and stay in train: the others give no words."""
    number = source.splits()["train"]
    examples = captions_by_key(source, "train")
    for key, captions in tqdm(examples, total=number, desc="words", unit=" images", delay=1):
        if division.split_of(key) == "train":
            yield from captions


def captions_by_key(source: Source, split: str) -> Iterator[tuple[str, Any]]:
    """Yields (key, captions) of the images of a split that are there; none is decoded."""
    if hasattr(source, "captions_by_key"):
        yield from source.captions_by_key(split)
        return
    for example in source.examples(split, 0, source.splits()[split]):
        image = example.image
        if not isinstance(image, Rejected) and (not isinstance(image, Path) or image.is_file()):
            yield example.key, example.captions


def word_vectors(options: PrepareOptions, vocabulary: Vocabulary) -> tuple[np.ndarray, list[str]]:
    """Returns float32 [V, D] table, from a file or drawn, and the words that the file does not
    have.

    Raises:
      UserError: the file is not as it should be.
    """
    if options.word_vectors:
        return tables.load(Path(options.word_vectors), vocabulary)
    return tables.random_table(vocabulary, options.word_vector_dim or DEFAULT_DIM, options.seed), []


def sentence_encoder(options: PrepareOptions) -> SentenceEncoder | None:
    """Returns the encoder that is asked for, or None.

    Raises:
      UserError: there is no such encoder, or it does not encode.
    """
    if options.sentence_encoder:
        return open_encoder(options.sentence_encoder, options.caption_tokens)
    if options.caption_tokens:
        raise UserError("--caption_tokens: of which encoder? Add --sentence_encoder=clip:FILE")
    return None


def conversion(
    options: PrepareOptions,
    source: Source,
    vocabulary: Vocabulary,
    encoder: SentenceEncoder | None = None,
) -> Conversion:
    """Returns how examples become records.

    Raises:
      UserError: the caption length is not the one that the source's codes have.
    """
    return Conversion(
        image_size=options.image_size,
        resize=options.resize,
        resampling=options.resampling,
        vocabulary=vocabulary,
        caption_length=_caption_length(options, source),
        placeholders=_placeholders(source),
        sentence_encoder=encoder,
    )


def _caption_length(options: PrepareOptions, source: Source) -> int:
    if source.vocabulary is None:
        return options.caption_length or DEFAULT_CAPTION_LENGTH
    first = next(iter(source.examples("train", 0, 1)))
    length = int(np.shape(first.captions)[1])
    if options.caption_length not in (None, length):
        raise UserError(
            f"--caption_length={options.caption_length}: the captions of "
            f"--source={options.source} have {length} codes; leave it out"
        )
    return length


def _placeholders(source: Source) -> Container[bytes]:
    """Contents that lie under several names, where the source's images are files."""
    if hasattr(source, "stream") or not _are_files(source):
        return frozenset()
    return RepeatedFiles(
        lambda: (each.image for each in _all_examples(source) if isinstance(each.image, Path))
    )


def _are_files(source: Source) -> bool:
    images = (
        example.image
        for split, number in source.splits().items()
        for example in source.examples(split, 0, number)
    )
    return isinstance(next((i for i in images if not isinstance(i, Rejected)), None), Path)


def _all_examples(source: Source) -> Iterator[Example]:
    total = sum(source.splits().values())
    with tqdm(total=total, desc="repeated files", unit=" images", delay=1) as bar:
        for split, number in source.splits().items():
            for example in source.examples(split, 0, number):
                bar.update()
                yield example


def shard_size(options: PrepareOptions) -> int:
    """Returns images in a shard; TFDS holds one shard's in memory."""
    return options.shard_size or max(64, min(2000, _SHARD_BYTES // (3 * options.image_size**2)))
