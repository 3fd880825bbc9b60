"""Parquet files of images and captions, as the library `datasets` and the Hub have them.

    t2igan prepare --source=parquet --files=DIR --out=DATASET

Images are bytes, or files that the rows name. Splits are those in the files' names
(`train-00000-of-00002.parquet`), or of a column `split`. Rows are read a few at a time.
"""

from __future__ import annotations

import argparse
import collections
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from input_pipeline.errors import UserError
from input_pipeline.images.decode import Rejected
from input_pipeline.readers import rows as kinds
from input_pipeline.readers import shard_files, text_files
from input_pipeline.readers.file_names import FileNames
from input_pipeline.sources.base import Example, OneFile

KEYS_ARE_PLACES = True
SPLITS = ("train", "validation", "test")
_ROWS = 64  # of images in memory at once
_PAGES = 1 << 20  # bytes of a column read ahead


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds what this source is told."""
    add = parser.add_argument
    add("--files", metavar="FILES", help="folder, files or patterns of .parquet, comma-separated")
    add("--images", metavar="DIR", help="of images that rows name (default: beside the file)")
    add("--image_column", metavar="NAME", help="column of the image")
    add("--caption_column", metavar="NAME", help="column of the captions")
    add("--split_column", metavar="NAME", help="column that says train, validation or test")


def open_source(args: argparse.Namespace) -> ParquetSource:
    """Returns the source that the flags name.

    Raises:
      UserError: a file is missing or damaged, or no column has images or captions.
    """
    return ParquetSource(files(args), _images(args), args)


def files(args: argparse.Namespace) -> list[tuple[Path, str]]:
    """Returns the files that the flags name, each with the split that its name says, or "".

    Raises:
      UserError: none is there.
    """
    given = args.files or args.images
    if not given:
        raise UserError("--source=parquet needs --files=DIR, the folder of the .parquet files")
    return shard_files.find(given, (".parquet", ".pq"))


def open_file(args: argparse.Namespace, one: OneFile) -> ParquetSource:
    """Returns the source of one file."""
    return ParquetSource([(one.path, one.split)], _images(args), args, one)


def _images(args: argparse.Namespace) -> Path | None:
    return Path(args.images) if args.files and args.images else None


class ParquetSource:
    """Rows of parquet files, from front to back; see `sources.base.Source`.

    An example's key is its split and its place in it.
    """

    name = "parquet"
    vocabulary = None

    def __init__(
        self,
        files: list[tuple[Path, str]],
        images: Path | None,
        columns: argparse.Namespace,
        alone: OneFile | None = None,
    ) -> None:
        """Reads the first file's schema, and how many rows each split has.

        Args:
          files: (path, split in its name or "").
          images: folder of images that rows name; None for the file's.
          columns: image_column, caption_column, split_column; None for what is usual.
          alone: the only file of `files`, where it is one of several.

        Raises:
          UserError: a file is damaged, or no column has images or captions.
        """
        schema = _opened(files[0][0]).schema_arrow
        names = schema.names
        self.bad: list[tuple[str, str]] = []
        self._files, self._images = files, images
        chosen = _column(columns.image_column, "image", names)
        self._image: str = chosen or _image_column(schema, files[0][0])
        caption = _column(columns.caption_column, "caption", names)
        found = [caption] if caption else [names[index] for index in kinds.caption_columns(names)]
        self._captions = [name for name in found if name != self._image]
        if not self._captions:
            raise UserError(
                f"{files[0][0]} has no column of captions; it has {', '.join(names)[:300]}: say "
                "which with --caption_column="
            )
        index = kinds.split_column(names)
        said = _column(columns.split_column, "split", names)
        said = said or (None if index is None else names[index])
        by_name = alone.any_named if alone else any(split for _, split in files)
        self._split = said if columns.split_column or not by_name else None
        self._names: dict[Path, FileNames] = {}
        self._number = alone.number if alone else len(files)
        self._first: Mapping[str, int] = alone.first if alone else {}
        counts = self._counted()
        if alone.all_train if alone else "train" not in counts and len(counts) == 1:
            # The only files that there are: for training, whatever their names say.
            self._files = [(path, "train") for path, _ in self._files]
            self._split = None
            counts = collections.Counter(train=counts.total())
        self._counts = {name: counts[name] for name in SPLITS if counts[name]}

    def splits(self) -> dict[str, int]:
        """Returns the number of rows of each split; all are for training where none is said."""
        return dict(self._counts)

    def notes(self) -> Iterator[str]:
        """Yields lines for the summary: what was read, and images' files that are missing."""
        captions = ", ".join(map(repr, self._captions))
        yield f"{self._number} files, images {self._image!r}, captions {captions}"
        for names in self._names.values():
            yield from names.notes()

    def stream(self, split: str) -> Iterator[Example]:
        """Yields the examples of a split, from front to back."""
        for key, where, row, folder in self._rows(split, [self._image, *self._captions]):
            yield Example(key, self._picture(row[self._image], folder), self._texts(row), where)

    def captions_by_key(self, split: str) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yields (key, captions) of the examples of a split; no image is read."""
        for key, _, row, _ in self._rows(split, self._captions):
            yield key, self._texts(row)

    def _rows(
        self, split: str, columns: list[str]
    ) -> Iterator[tuple[str, str, dict[str, Any], Path]]:
        """(key, file and row, values, folder of the file) of each row of a split."""
        place = self._first.get(split, 0)
        for path, named in self._files:
            if not self._split and (named or "train") != split:
                continue
            for index, row in enumerate(_read(path, [*columns, *self._split_columns])):
                if self._split and self._split_of(row) != split:
                    continue
                yield f"{split}-{place:08d}", f"{path.name}[{index}]", row, path.parent
                place += 1

    @property
    def _split_columns(self) -> list[str]:
        return [self._split] if self._split else []

    def _split_of(self, row: dict[str, Any]) -> str:
        return kinds.split_named(row[str(self._split)] or "") or "train"

    def _counted(self) -> collections.Counter[str]:
        counts: collections.Counter[str] = collections.Counter()
        for path, named in self._files:
            if self._split:
                counts.update(self._split_of(row) for row in _read(path, [self._split]))
            else:
                counts[named or "train"] += _opened(path).metadata.num_rows
        return counts

    def _picture(self, value: Any, folder: Path) -> bytes | Path | Rejected:
        name = value
        if isinstance(value, dict):
            if value.get("bytes"):
                return bytes(value["bytes"])
            name = value.get("path")
        if isinstance(value, bytes):
            return value
        if not isinstance(name, str) or not name:
            return Rejected("missing")
        root = self._images or folder
        names = self._names.setdefault(root, FileNames(root))
        try:
            found = names.find(name)
        except ValueError:
            return Rejected("bad_name")
        return root / found if found else Rejected("missing")

    def _texts(self, row: dict[str, Any]) -> tuple[str, ...]:
        parts = [kinds.caption_texts(row[name]) or () for name in self._captions]
        return tuple(text_files.whole(text) for part in parts for text in part if text.strip())


def _opened(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path, buffer_size=_PAGES, pre_buffer=False)
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} is no parquet file, or damaged: {reason}") from error


def _read(path: Path, columns: list[str]) -> Iterator[dict[str, Any]]:
    import pyarrow as pa

    try:
        for batch in _opened(path).iter_batches(batch_size=_ROWS, columns=columns):
            yield from batch.to_pylist()
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} is damaged, or has other columns than the first: {reason}") from (
            error
        )


def _column(given: str | None, kind: str, names: list[str]) -> str | None:
    if given is None or given in names:
        return given
    raise UserError(f"--{kind}_column={given}: the columns are {', '.join(names)[:300]}")


def _image_column(schema: Any, path: Path) -> str:
    """The column of bytes, or of {"bytes", "path"}; else the one that is called as images are."""
    import pyarrow as pa

    def holds_bytes(kind: Any) -> bool:
        if pa.types.is_struct(kind):
            return any(kind.field(index).name == "bytes" for index in range(kind.num_fields))
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    found = [field.name for field in schema if holds_bytes(field.type)]
    usual = kinds.image_column(found)
    if usual is not None or len(found) == 1:
        return str(found[usual or 0])
    index = kinds.image_column(schema.names)
    if found or index is None:
        raise UserError(
            f"{path}: which column has the images? It has {', '.join(schema.names)[:300]}: say "
            "which with --image_column="
        )
    return str(schema.names[index])
