"""The student report's HDF5 files beside a folder of the images that their URLs name.

    t2igan prepare --source=hdf5 --captions=FILE.h5 --images=DIR --out=DATASET

An image's file is named as its URL ends. Where URLs that differ end alike, one file cannot be the
image of each: those are rejected as `ambiguous_name`.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from input_pipeline import scratch
from input_pipeline.errors import UserError
from input_pipeline.images.decode import Rejected
from input_pipeline.images.placeholders import digest
from input_pipeline.readers.caption_groups import CaptionGroups
from input_pipeline.readers.hdf5_captions import CaptionFile, image_name
from input_pipeline.sources.base import Example
from input_pipeline.text.vocabulary import Vocabulary

_MOST_AMBIGUOUS = 10_000


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds what this source is told."""
    parser.add_argument("--captions", metavar="FILE.h5", help="captions, words and URLs")
    parser.add_argument("--images", metavar="DIR", help="images, named as their URLs end")
    parser.add_argument("--test_captions", metavar="FILE.h5", help="a test file (optional)")
    parser.add_argument("--test_images", metavar="DIR", help="its images (default: --images)")


def open_source(args: argparse.Namespace) -> Hdf5Source:
    """Returns the source that the flags name, its captions gathered by image.

    Raises:
      UserError: a file or folder is missing or not what it should be.
    """
    captions = _given(args, "captions", "captions=FILE.h5")
    images = _folder(_given(args, "images", "images=DIR"), "images")
    with CaptionFile(captions, "train") as file:
        vocabulary = file.vocabulary
        if vocabulary is None:
            raise UserError(f"{captions} has no data set word_code; give the train file's words")
        splits = {"train": _gather(file, images, len(vocabulary))}
    if args.test_captions:
        test_images = _folder(Path(args.test_images), "test_images") if args.test_images else images
        with CaptionFile(Path(args.test_captions), "test") as file:
            splits["test"] = _gather(file, test_images, len(vocabulary))
    lengths = {split.length for split in splits.values()}
    if len(lengths) > 1:
        raise UserError(
            f"{args.captions} and {args.test_captions} have captions of {sorted(lengths)} codes; "
            "one length is needed: give files that belong together"
        )
    return Hdf5Source(vocabulary, splits)


@dataclasses.dataclass(frozen=True)
class _Split:
    length: int
    images: Path
    groups: CaptionGroups
    ambiguous: frozenset[bytes]


class Hdf5Source:
    """Images and word codes of the StackGAN baseline's files; see `sources.base.Source`.

    An example's key is its place among the URLs and its file's name. Its captions are int32 [n, L]
    codes, n >= 0.
    """

    name = "hdf5"
    missing_hint = (
        "files are to be named as the URLs in the HDF5 file end; `t2igan download` names them so"
    )

    def __init__(self, vocabulary: Vocabulary, splits: dict[str, _Split]) -> None:
        self.vocabulary = vocabulary
        self._splits = splits

    def splits(self) -> dict[str, int]:
        """Number of URLs in each split."""
        return {name: len(split.groups) for name, split in self._splits.items()}

    def examples(self, split: str, start: int, stop: int) -> Iterator[Example]:
        """Examples `start` to `stop` of a split, in the URLs' order."""
        chosen = self._splits[split]
        for index, url, rows in chosen.groups.read(start, stop):
            captions = np.frombuffer(b"".join(rows), "<u2").astype(np.int32)
            yield Example(
                f"{index:07d}_{_key_name(url)}",
                _image(chosen, url),
                captions.reshape(-1, chosen.length),
                file=_key_name(url),
            )

    def captions(self, split: str) -> Iterator[str]:
        """Yields every caption of a split, in words."""
        for row in self._splits[split].groups.captions():
            yield self.vocabulary.decode(np.frombuffer(row, "<u2"))


def _gather(file: CaptionFile, images: Path, words: int) -> _Split:
    groups = CaptionGroups(enumerate(file.urls()), _captions(file, words))
    names = (
        (digest(name.encode()), digest(url.strip().encode()))
        for url in groups.names()
        if (name := image_name(url)) is not None
    )
    ambiguous = scratch.shared(names, 2, _MOST_AMBIGUOUS)
    if len(ambiguous) == _MOST_AMBIGUOUS:
        raise UserError(
            f"{file.path}: {_MOST_AMBIGUOUS} or more file names belong to several URLs each, so "
            "files cannot be told apart; URLs must end in names of their own"
        )
    return _Split(file.length, images, groups, frozenset(ambiguous))


def _captions(file: CaptionFile, words: int) -> Iterator[tuple[int, bytes]]:
    with tqdm(total=file.captions, desc="gathering captions", unit=" captions", delay=1) as bar:
        for index, codes in file.rows(words):
            width = codes.dtype.itemsize * file.length
            data = codes.astype("<u2").tobytes()
            starts = range(0, len(data), width)
            yield from zip(index.tolist(), (data[at : at + width] for at in starts), strict=True)
            bar.update(len(index))


def _image(split: _Split, url: str) -> Path | Rejected:
    name = image_name(url)
    if name is None:
        return Rejected("bad_name")
    if digest(name.encode()) in split.ambiguous:
        return Rejected("ambiguous_name")
    return split.images / name


def _key_name(url: str) -> str:
    """A name for lists and keys, even where the URL has none that could be a file's."""
    return image_name(url) or ascii(url[-100:]).strip("'\"")


def _given(args: argparse.Namespace, flag: str, form: str) -> Path:
    value = getattr(args, flag)
    if not value:
        raise UserError(f"--source=hdf5 needs --{form}; see t2igan prepare --help")
    return Path(value)


def _folder(path: Path, flag: str) -> Path:
    if not path.is_dir():
        raise UserError(f"--{flag}={path}: there is no such folder; give the images' folder")
    return path
