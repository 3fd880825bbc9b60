"""COCO's captions files beside folders of their images.

    t2igan prepare --source=coco --captions=captions_train2017.json --images=train2017 \\
        --validation_captions=captions_val2017.json --validation_images=val2017 --out=DATASET

The files are read a piece at a time: they may be larger than memory.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from input_pipeline.errors import UserError
from input_pipeline.images.decode import Rejected
from input_pipeline.readers.caption_groups import CaptionGroups
from input_pipeline.readers.json_stream import elements
from input_pipeline.sources.base import Example, is_inside

_SPLITS = ("train", "validation", "test")
_INTEGERS = range(-(2**63), 2**63)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds what this source is told."""
    for split in _SPLITS:
        prefix = _prefix(split)
        note = "" if split == "train" else f" of the split {split} (optional)"
        parser.add_argument(
            f"--{prefix}captions", metavar="FILE.json", help=f"COCO's captions file{note}"
        )
        parser.add_argument(f"--{prefix}images", metavar="DIR", help=f"folder of its images{note}")


def _prefix(split: str) -> str:
    return "" if split == "train" else f"{split}_"


def open_source(args: argparse.Namespace) -> CocoSource:
    """Returns the source that the flags name, its captions gathered by image.

    Raises:
      UserError: a file or folder is missing or not what it should be.
    """
    splits = {}
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
        splits[split] = (Path(images), _gather(Path(captions)))
    return CocoSource(splits)


class CocoSource:
    """Images that COCO's captions files list; see `sources.base.Source`.

    An example's key is its id and its file's name. Names that lead out of the folder are
    `bad_name`.
    """

    name = "coco"
    vocabulary = None

    def __init__(self, splits: dict[str, tuple[Path, CaptionGroups]]) -> None:
        self._splits = splits

    def splits(self) -> dict[str, int]:
        """Number of images that the file of each split lists."""
        return {name: len(groups) for name, (_, groups) in self._splits.items()}

    def examples(self, split: str, start: int, stop: int) -> Iterator[Example]:
        """Examples `start` to `stop` of a split, in the order of the file's list of images."""
        folder, groups = self._splits[split]
        for number, name, captions in groups.read(start, stop):
            image = folder / name if is_inside(name) else Rejected("bad_name")
            yield Example(f"{number}_{name}", image, tuple(captions), file=name)

    def captions(self, split: str) -> Iterator[str]:
        """Returns every caption of a split."""
        return self._splits[split][1].captions()


def _gather(path: Path) -> CaptionGroups:
    groups = CaptionGroups(_images(path), _captions(path))
    if not len(groups):
        raise UserError(
            f'{path} lists no image; COCO\'s captions files have lists "images" and "annotations"'
        )
    if groups.unknown:
        print(
            f"{path}: {groups.unknown:,} captions are of images that it does not list (the first: "
            f"{groups.unknown_key}); they are left out",
            file=sys.stderr,
        )
    return groups


def _images(path: Path) -> Iterator[tuple[int, str]]:
    for place, image in _counted(path, "images"):
        name = _field(path, "images", place, image, "file_name", str)
        yield _field(path, "images", place, image, "id", int), name


def _captions(path: Path) -> Iterator[tuple[int, str]]:
    for place, annotation in _counted(path, "annotations"):
        caption = _field(path, "annotations", place, annotation, "caption", str)
        yield _field(path, "annotations", place, annotation, "image_id", int), caption


def _counted(path: Path, key: str) -> Iterator[tuple[int, Any]]:
    return enumerate(tqdm(elements(path, key), desc=f"reading {key}", unit="", delay=1))


def _field(path: Path, key: str, place: int, element: Any, name: str, kind: type) -> Any:
    value = element.get(name) if isinstance(element, dict) else None
    if type(value) is not kind or (kind is int and value not in _INTEGERS):
        expected = "an integer" if kind is int else "a text"
        raise UserError(f'{path}: "{name}" of element {place} of "{key}" must be {expected}')
    # JSON can say half characters, which no file and no data base can hold.
    return str(value).encode("utf-8", "replace").decode() if kind is str else value
