"""A folder of images with captions: a .txt beside each image, or one table.

    t2igan prepare --source=folder --images=DIR --out=DATASET

Without `--captions`, `captions.csv` or `captions.jsonl` in the folder is the table; where there is
neither, `sub/a.jpg` has its captions in `sub/a.txt`, one a line.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

from input_pipeline import scratch
from input_pipeline.errors import UserError
from input_pipeline.images.decode import Rejected
from input_pipeline.readers import caption_tables
from input_pipeline.readers.caption_groups import MAX_CAPTIONS, CaptionGroups
from input_pipeline.sources.base import Example, is_inside

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
_TABLES = ("captions.csv", "captions.jsonl")
_MAX_TEXT_BYTES = 1 << 20


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds what this source is told."""
    parser.add_argument("--images", metavar="DIR", help="images, in sub-folders too")
    parser.add_argument(
        "--captions", metavar="FILE", help="a .csv (file,caption) or .jsonl (default: see above)"
    )


def open_source(args: argparse.Namespace) -> FolderSource | TableSource:
    """Returns the source that the flags name.

    Raises:
      UserError: the folder or the table is missing or not what it should be.
    """
    if not args.images:
        raise UserError("--source=folder needs --images=DIR; see t2igan prepare --help")
    folder = Path(args.images)
    if not folder.is_dir():
        raise UserError(f"--images={folder}: there is no such folder; give the images' folder")
    table = Path(args.captions) if args.captions else _table_in(folder)
    if table is None:
        return FolderSource(folder)
    return TableSource(folder, CaptionGroups(None, caption_tables.read_table(table)))


def _table_in(folder: Path) -> Path | None:
    found = [folder / name for name in _TABLES if (folder / name).is_file()]
    if len(found) > 1:
        raise UserError(f"{folder} has {' and '.join(_TABLES)}: choose one with --captions=FILE")
    return found[0] if found else None


class TableSource:
    """Images that a table of captions names; see `sources.base.Source`.

    An example's key is its name in the table. Names that lead out of the folder are `bad_name`.
    """

    name = "folder"
    vocabulary = None

    def __init__(self, folder: Path, groups: CaptionGroups) -> None:
        self._folder = folder
        self._groups = groups

    def splits(self) -> dict[str, int]:
        """Number of images that the table names; all are for training."""
        return {"train": len(self._groups)}

    def examples(self, split: str, start: int, stop: int) -> Iterator[Example]:
        """Examples `start` to `stop`, in the table's order of first mention."""
        for _, name, captions in self._groups.read(start, stop):
            image = self._folder / name if is_inside(name) else Rejected("bad_name")
            yield Example(name, image, tuple(captions))

    def captions(self, split: str) -> Iterator[str]:
        """Returns every caption of the table."""
        return self._groups.captions()


class FolderSource:
    """Images with a .txt beside each; see `sources.base.Source`.

    An example's key is its path in the folder. A .txt without an image counts as one that is
    missing.

    Args:
      folder: its files' names are listed once, on disk, sorted.
    """

    name = "folder"
    vocabulary = None

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = scratch.folder_for(self) / "names.sqlite"
        with scratch.database(self._path) as database:
            # Paths as bytes: a file's name need not be text.
            database.execute("CREATE TABLE found (path BLOB, stem BLOB, is_image)")
            database.executemany("INSERT INTO found VALUES (?, ?, ?)", _walk(folder))
            database.execute("CREATE INDEX stems ON found (stem, is_image)")
            database.execute("CREATE TABLE name (position INTEGER PRIMARY KEY, path, is_image)")
            database.execute(
                "INSERT INTO name SELECT row_number() OVER (ORDER BY path) - 1, path, is_image "
                "FROM found WHERE is_image OR NOT EXISTS "
                "(SELECT 1 FROM found AS image WHERE image.stem = found.stem AND image.is_image)"
            )
            database.execute("DROP TABLE found")
            database.commit()
            self._count = database.execute("SELECT count(*) FROM name").fetchone()[0]

    def splits(self) -> dict[str, int]:
        """Number of images; all are for training."""
        return {"train": self._count}

    def examples(self, split: str, start: int, stop: int) -> Iterator[Example]:
        """Examples `start` to `stop`, in the order of their paths."""
        query = "SELECT path, is_image FROM name WHERE position >= ? AND position < ?"
        with scratch.database(self._path) as database:
            for data, is_image in database.execute(query + " ORDER BY position", (start, stop)):
                yield self._example(os.fsdecode(data), is_image)

    def captions(self, split: str) -> Iterator[str]:
        """Yields every caption."""
        for example in self.examples(split, 0, self._count):
            yield from example.captions

    def _example(self, name: str, is_image: bool) -> Example:
        path = self._folder / name
        try:
            captions = _read_captions(path.with_suffix(".txt"))
        except Rejected as error:
            return Example(name, error, ())
        return Example(name, path if is_image else Rejected("missing"), captions)


def _walk(folder: Path) -> Iterator[tuple[bytes, bytes, bool]]:
    """(path, path without its suffix, whether it is an image's) of images and texts."""
    for name in _names(folder):
        stem, suffix = os.path.splitext(name)
        if suffix.lower() in SUFFIXES or suffix == ".txt":
            yield os.fsencode(name), os.fsencode(stem), suffix != ".txt"


def _names(folder: Path) -> Iterator[str]:
    """Paths of all files; links to folders are followed, each folder is read once."""
    ahead, seen = [""], set()
    try:
        while ahead:
            inside = ahead.pop()
            status = os.stat(folder / inside)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder / inside) as entries:
                for entry in entries:
                    name = os.path.join(inside, entry.name)
                    if _is_folder(entry):
                        ahead.append(name)
                    else:
                        yield name
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}") from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    # `entry.is_dir()` would raise for a link to itself.
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()


def _read_captions(path: Path) -> tuple[str, ...]:
    if not path.exists():
        return ()
    try:
        if not path.is_file():  # a pipe would wait for ever
            raise Rejected("unreadable_captions")
        with path.open("rb") as file:
            data = file.read(_MAX_TEXT_BYTES + 1)
        lines = data.decode("utf-8-sig").splitlines()
    except (OSError, ValueError):
        raise Rejected("unreadable_captions") from None
    if len(data) > _MAX_TEXT_BYTES or len(lines) > MAX_CAPTIONS:
        raise Rejected("unreadable_captions")
    return tuple(line for line in lines if line.strip())
