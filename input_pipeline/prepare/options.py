"""What prepare's flags and the source together decide, before the first image is decoded."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from input_pipeline.errors import UserError
from input_pipeline.images.decode import Rejected
from input_pipeline.images.placeholders import repeated_files
from input_pipeline.prepare.convert import Conversion, SplitAssignment
from input_pipeline.sources.base import Example, Source
from input_pipeline.text import vocabulary as vocabularies
from input_pipeline.text import word_vectors as tables
from input_pipeline.text.sentence_encoders import SentenceEncoder, open_encoder
from input_pipeline.text.vocabulary import Vocabulary

DEFAULT_VOCAB_SIZE = 1004
DEFAULT_CAPTION_LENGTH = 17
DEFAULT_DIM = 200
DEFAULT_PARTS = {"validation": 0.15, "test": 0.0}
_SHARD_BYTES = 64 * 1024 * 1024


def division(args: argparse.Namespace, source: Source) -> SplitAssignment:
    """How the images of train are divided into the splits that the source lacks.

    Raises:
      UserError: a part is out of range, or of a split that the source has.
    """
    names = source.splits()
    if not names.get("train"):
        raise UserError(f"--source={args.source} has no image for the split train")
    parts = {"validation": args.validation_fraction, "test": args.test_fraction}
    for name, part in parts.items():
        if part is not None and not 0 <= part < 1:
            raise UserError(f"--{name}_fraction={part}: 0 to 1 is allowed, 1 excluded")
        if part and name in names:
            raise UserError(
                f"--{name}_fraction={part}: this source has a split {name} of its own; leave it out"
            )
    parts = {
        name: 0.0 if name in names else DEFAULT_PARTS[name] if part is None else part
        for name, part in parts.items()
    }
    if sum(parts.values()) >= 1:
        raise UserError("--validation_fraction and --test_fraction leave nothing to train on")
    return SplitAssignment(args.seed, **parts)


def vocabulary(args: argparse.Namespace, source: Source, division: SplitAssignment) -> Vocabulary:
    """The source's own words, or the most frequent ones of the captions that stay in train.

    Raises:
      UserError: the size is out of range, or the source brings its words.
    """
    if source.vocabulary is not None:
        if args.vocab_size is not None:
            raise UserError(f"--vocab_size: --source={args.source} brings its own words; leave out")
        return source.vocabulary
    captions = _train_captions(source, division)
    return vocabularies.build(captions, args.vocab_size or DEFAULT_VOCAB_SIZE)


def _train_captions(source: Source, division: SplitAssignment) -> Iterator[str]:
    """Captions of the images that stay in train: validation and test give no words."""
    if division.parts()["train"] == 1:
        yield from tqdm(source.captions("train"), desc="words", unit=" captions", delay=1)
        return
    number = source.splits()["train"]
    examples = source.examples("train", 0, number)
    for example in tqdm(examples, total=number, desc="words", unit=" images", delay=1):
        if division.split_of(example.key) == "train":
            yield from example.captions


def word_vectors(args: argparse.Namespace, vocabulary: Vocabulary) -> tuple[np.ndarray, list[str]]:
    """float32 [V, D] table, from a file or drawn, and the words that the file does not have.

    Raises:
      UserError: the file is not as it should be.
    """
    if args.word_vectors:
        return tables.load(Path(args.word_vectors), vocabulary)
    return tables.random_table(vocabulary, args.word_vector_dim or DEFAULT_DIM, args.seed), []


def sentence_encoder(args: argparse.Namespace) -> SentenceEncoder | None:
    """The encoder that is asked for, or None.

    Raises:
      UserError: there is no such encoder, or it does not encode.
    """
    return open_encoder(args.sentence_encoder) if args.sentence_encoder else None


def conversion(
    args: argparse.Namespace,
    source: Source,
    vocabulary: Vocabulary,
    encoder: SentenceEncoder | None = None,
) -> Conversion:
    """How examples become records; reads small image files once, to know those that repeat.

    Raises:
      UserError: the caption length is not the one that the source's codes have.
    """
    return Conversion(
        image_size=args.image_size,
        resize=args.resize,
        vocabulary=vocabulary,
        caption_length=_caption_length(args, source),
        placeholders=_placeholders(source),
        sentence_encoder=encoder,
    )


def _caption_length(args: argparse.Namespace, source: Source) -> int:
    if source.vocabulary is None:
        return args.caption_length or DEFAULT_CAPTION_LENGTH
    first = next(iter(source.examples("train", 0, 1)))
    length = int(first.captions.shape[1])
    if args.caption_length not in (None, length):
        raise UserError(
            f"--caption_length={args.caption_length}: the captions of --source={args.source} have "
            f"{length} codes; leave it out"
        )
    return length


def _placeholders(source: Source) -> frozenset[bytes]:
    """Contents that lie under several names, where the source's images are files."""
    if not _are_files(source):
        return frozenset()
    return repeated_files(
        example.image for example in _all_examples(source) if isinstance(example.image, Path)
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


def shard_size(args: argparse.Namespace) -> int:
    """Images in a shard; TFDS holds one shard's in memory."""
    return args.shard_size or max(64, min(2000, _SHARD_BYTES // (3 * args.image_size**2)))
