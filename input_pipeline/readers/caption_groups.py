"""Captions gathered by image, on disk: memory stays the same for ten images or ten million."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any

from input_pipeline import scratch
from input_pipeline.errors import UserError

Key = int | str
Caption = str | bytes

# An image's captions are in memory together.
MAX_CAPTIONS = 10_000


class CaptionGroups:
    """Images in the order they were added, each with its captions in the order they were added.

    Written once, then read by range, by any number of threads and processes (it pickles as a
    path). Its file lies in a temporary folder, which goes away with the object that made it.
    `TMPDIR` chooses where; 40 million captions take a few GB.

    Attributes:
      unknown: how many captions name an image that was never added; 0 for captions alone.
      unknown_key: the first of those names, or None.
    """

    def __init__(
        self,
        images: Iterable[tuple[Key, str]] | None,
        captions: Iterable[tuple[Key, Caption] | tuple[Key, Caption, str, str]],
    ) -> None:
        """Reads the images to their end, then the captions to theirs.

        Args:
          images: (key, name) of each image, captioned or not; the keys all int or all str. Of a
            key that comes twice the first name counts. None: the images are those that the
            captions name, in order of first mention, with the key as name.
          captions: (key, caption) in any order; a caption is text, or bytes of the caller's. Or
            (key, caption, split, name), where `images` is None: of a key that comes twice the
            first split and name count.

        Raises:
          UserError: one image has more than 10,000 captions, or the temporary folder is full.
        """
        self._path = scratch.folder_for(self) / "captions.sqlite"
        with scratch.database(self._path) as database:
            _fill(database, images, captions)
            _check_largest(database)
            self._counts: dict[str, int] = dict(
                database.execute("SELECT split, count(*) FROM image GROUP BY split")
            )
            self.unknown, self.unknown_key = database.execute(
                "SELECT count(*), (SELECT key FROM stray ORDER BY rowid LIMIT 1) FROM stray"
            ).fetchone()

    def __len__(self) -> int:
        """Number of images."""
        return sum(self._counts.values())

    def splits(self) -> dict[str, int]:
        """Returns the number of images of each split; all are of "" where none is said."""
        return dict(self._counts)

    def read(self, start: int, stop: int, split: str = "") -> Iterator[tuple[Key, str, list[Any]]]:
        """Yields (key, name, captions) of images `start` to `stop` of a split."""
        query = (
            "SELECT place, key, name, text FROM image LEFT JOIN caption USING (place) "
            "WHERE split = ? AND position >= ? AND position < ? ORDER BY place, caption.rowid"
        )
        with scratch.database(self._path) as database:
            rows = database.execute(query, (split, start, stop))
            for (_, key, name), group in itertools.groupby(rows, key=lambda row: row[:3]):
                yield key, name, [text for *_, text in group if text is not None]

    def names(self) -> Iterator[str]:
        """Name of each image."""
        with scratch.database(self._path) as database:
            for (name,) in database.execute("SELECT name FROM image ORDER BY place"):
                yield name

    def captions(self) -> Iterator[Any]:
        """Yields every caption, image by image."""
        with scratch.database(self._path) as database:
            for (text,) in database.execute("SELECT text FROM caption ORDER BY rowid"):
                yield text


def _fill(
    database: sqlite3.Connection,
    images: Iterable[tuple[Key, str]] | None,
    captions: Iterable[tuple[Any, ...]],
) -> None:
    """Both tables in order of place; the sorting is SQLite's, which spills to disk."""
    named = "SELECT key, name, split, rowid AS row FROM given"
    if images is not None:
        named = "SELECT key, name, '' AS split, rowid AS row FROM named"
        database.execute("CREATE TABLE named (key, name)")
        database.executemany("INSERT INTO named VALUES (?, ?)", images)
    database.execute("CREATE TABLE given (key, text, split, name)")
    database.executemany("INSERT INTO given VALUES (?, ?, ?, ?)", map(_four, captions))
    database.execute(
        "CREATE TABLE image (place INTEGER PRIMARY KEY, key, name, split, position INTEGER)"
    )
    database.execute(  # name and split are those of the row that min() finds
        "INSERT INTO image SELECT row_number() OVER (ORDER BY first) - 1, key, name, split, "
        "row_number() OVER (PARTITION BY split ORDER BY first) - 1 "
        f"FROM (SELECT key, name, split, min(row) AS first FROM ({named}) GROUP BY key)"
    )
    database.execute("CREATE UNIQUE INDEX image_key ON image (key)")
    database.execute("CREATE INDEX image_position ON image (split, position)")
    database.execute("CREATE TABLE caption (place INTEGER, text)")
    database.execute(
        "INSERT INTO caption SELECT place, text FROM given JOIN image USING (key) "
        "ORDER BY place, given.rowid"
    )
    database.execute("CREATE INDEX caption_place ON caption (place)")
    database.execute(
        "CREATE TABLE stray AS SELECT key FROM given WHERE key NOT IN (SELECT key FROM image)"
    )
    database.execute("DROP TABLE given")
    database.commit()


def _four(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return row if len(row) == 4 else (*row, "", row[0])


def _check_largest(database: sqlite3.Connection) -> None:
    row = database.execute(
        "SELECT name, count(*) AS captions FROM caption JOIN image USING (place) "
        "GROUP BY place HAVING captions > ? ORDER BY captions DESC LIMIT 1",
        (MAX_CAPTIONS,),
    ).fetchone()
    if row is not None:
        raise UserError(
            f"image {str(row[0])[:200]!r} has {row[1]} captions; at most {MAX_CAPTIONS} are "
            "allowed: check which column names the image"
        )
