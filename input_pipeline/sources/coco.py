"""JSON files of captions beside folders of their images: COCO's, Karpathy's and others.

    t2igan prepare --source=coco --captions=captions_train2017.json --images=train2017 \\
        --validation_captions=captions_val2017.json --validation_images=val2017 --out=DATASET

The files are read a piece at a time: they may be larger than memory. Splits that a file names
(Karpathy's `dataset_coco.json`) are kept.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path

from input_pipeline.errors import UserError
from input_pipeline.readers import rows as kinds
from input_pipeline.readers.captions_file import open_captions
from input_pipeline.readers.rows import Columns
from input_pipeline.sources.base import Example
from input_pipeline.sources.files.captioned_files import CaptionedFiles
from input_pipeline.sources.files.named_images import NamedImages

_SPLITS = ("train", "validation", "test")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds what this source is told."""
    for split in _SPLITS:
        prefix = _prefix(split)
        note = "" if split == "train" else f" of the split {split} (optional)"
        parser.add_argument(
            f"--{prefix}captions", metavar="FILE.json", help=f"COCO's captions file{note}"
        )
        parser.add_argument(f"--{prefix}images", metavar="DIR", help=f"folder of its images{note}")
    kinds.add_column_flags(parser)


def _prefix(split: str) -> str:
    return "" if split == "train" else f"{split}_"


def open_source(args: argparse.Namespace) -> NamedImages:
    """Returns the source that the flags name, its captions gathered by image.

    Raises:
      UserError: a file or folder is missing or not what it should be.
    """
    given = {}
    for split in _SPLITS:
        prefix = _prefix(split)
        captions, images = (getattr(args, prefix + flag) for flag in ("captions", "images"))
        if not captions and not images and split != "train":
            continue
        if not captions or not images:
            raise UserError(
                f"--source=coco needs both --{prefix}captions=FILE.json and --{prefix}images=DIR; "
                "see t2igan prepare --help"
            )
        if not Path(images).is_dir():
            raise UserError(f"--{prefix}images={images}: there is no such folder")
        file = open_captions(Path(captions), Columns.of(args))
        # Of a file for one split alone, the file may say: Karpathy's has all three.
        given[split] = CaptionedFiles(Path(images), [(file, "" if split == "train" else split, "")])
    if len(given) == 1:
        return NamedImages("coco", given["train"])
    return NamedImages("coco", _Several(given))


class _Several:
    """A file of captions for each split."""

    def __init__(self, parts: Mapping[str, CaptionedFiles]) -> None:
        self._parts = parts
        self.bad = [row for part in parts.values() for row in part.bad]

    def splits(self) -> dict[str, int]:
        return {split: sum(part.splits().values()) for split, part in self._parts.items()}

    def notes(self) -> Iterator[str]:
        return chain.from_iterable(part.notes() for part in self._parts.values())

    def examples(self, split: str, start: int, stop: int) -> Iterator[Example]:
        return NamedImages("coco", self._parts[split]).examples_of_all(start, stop)
