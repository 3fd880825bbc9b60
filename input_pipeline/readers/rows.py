"""What a file of captions says of one image, and what the user says of the file."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

# As the field writes them, the surest first; compared in lower case, "-" and " " as "_".
IMAGE_COLUMNS = (
    "file",
    "file_name",
    "filename",
    "image_name",
    "image_file",
    "image_path",
    "filepath",
    "file_path",
    "image",
    "img",
    "img_path",
    "img_name",
    "path",
    "picture",
    "photo",
    "name",
    "url",
    "image_id",
    "id",
)
CAPTION_COLUMNS = (
    "caption",
    "captions",
    "text",
    "texts",
    "prompt",
    "prompts",
    "sentence",
    "sentences",
    "comment",
    "comments",
    "description",
    "descriptions",
    "title",
    "raw",
    "alt_text",
    "alt",
    "txt",
)
SPLIT_COLUMNS = ("split", "set", "subset", "partition")
_SEVERAL = re.compile(r"(caption|text|prompt|sentence|comment|description|title)s?_?\d+")
_MOST_LIST = 1 << 20

_TRAIN = {"train", "training", "trn", "restval"}
_VALIDATION = {"validation", "val", "valid", "dev", "eval", "validate"}
_TEST = {"test", "testing", "tst"}


@dataclasses.dataclass(frozen=True)
class Row:
    """Captions of an image.

    Attributes:
      name: of its file, as it is written.
      captions: texts, blank ones included.
      split: train, validation or test; empty where the file does not say.
      where: its line or place, for people.
      key: tells images of one name apart, e.g. COCO's id; empty where the name does.
    """

    name: str
    captions: tuple[str, ...]
    split: str = ""
    where: str = ""
    key: str = ""


@dataclasses.dataclass(frozen=True)
class BadRow:
    """A row that names no image or no caption, and why, in one word."""

    where: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Columns:
    """What a user says of a file of captions; None where it is to be found by looking.

    Attributes:
      image: column of the image's file, by name or by number from 1.
      caption: column of the caption.
      split: column of the split.
      delimiter: between fields; `tab` is one.
      encoding: of the file.
    """

    image: str | None = None
    caption: str | None = None
    split: str | None = None
    delimiter: str | None = None
    encoding: str | None = None

    @classmethod
    def of(cls, args: argparse.Namespace) -> Columns:
        """Returns what the flags of `add_column_flags` say."""
        names = ("image_column", "caption_column", "split_column", "delimiter", "encoding")
        return cls(*(getattr(args, name, None) for name in names))


def add_column_flags(parser: Any) -> None:
    """Adds the flags that describe a file of captions; without them it is looked at."""
    add = parser.add_argument
    add("--image_column", metavar="NAME", help="column of the image's file, by name or number")
    add("--caption_column", metavar="NAME", help="column of the caption, by name or number")
    add("--split_column", metavar="NAME", help="column that says train, validation or test")
    add("--delimiter", metavar="CHAR", help="between fields: a character, or tab")
    add("--encoding", metavar="NAME", help="of the file: utf-8, utf-16, cp1252, ...")


def plain(name: str) -> str:
    """Returns a column's name as it is compared."""
    return re.sub(r"[\s\-]+", "_", name.strip().strip("\"'").lower())


def image_column(names: Sequence[str]) -> int | None:
    """Returns the index of the column that names the image, or None."""
    return _first(names, IMAGE_COLUMNS)


def caption_columns(names: Sequence[str]) -> list[int]:
    """Returns the indices of the column, or columns caption_0, caption_1, ..., of captions."""
    several = [index for index, name in enumerate(names) if _SEVERAL.fullmatch(plain(name))]
    one = _first(names, CAPTION_COLUMNS)
    return several if one is None else [one]


def split_column(names: Sequence[str]) -> int | None:
    """Returns the index of the column that names the split, or None."""
    return _first(names, SPLIT_COLUMNS)


def _first(names: Sequence[str], known: Iterable[str]) -> int | None:
    given = [plain(name) for name in names]
    return next((given.index(name) for name in known if name in given), None)


def split_named(value: Any) -> str:
    """Returns train, validation or test for what people call them; empty for all else."""
    name = str(value).strip().lower()
    for split, names in (("train", _TRAIN), ("validation", _VALIDATION), ("test", _TEST)):
        if name in names:
            return split
    return ""


def caption_texts(value: Any) -> tuple[str, ...] | None:
    """Returns the captions in a value: a text, a list of texts or of {"raw": text}; None if none.

    A text that is a list as Python or JSON writes it is that list.
    """
    if isinstance(value, str):
        return _listed(value) or (value,)
    if isinstance(value, dict):
        inside = next((value[name] for name in CAPTION_COLUMNS if name in value), None)
        return caption_texts(inside) if isinstance(inside, str | list | tuple) else None
    if isinstance(value, list | tuple):
        parts = [caption_texts(part) for part in value]
        return tuple(text for part in parts if part for text in part)
    return None


def _listed(text: str) -> tuple[str, ...] | None:
    inside = text.strip()
    if not (inside[:1] == "[" and inside[-1:] == "]" and len(inside) <= _MOST_LIST):
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(inside)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
        if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
            return tuple(value)
    return None
