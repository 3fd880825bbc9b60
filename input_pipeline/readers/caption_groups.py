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
        captions: Iterable[tuple[Key, Caption]],
    ) -> None:
        """Reads the images to their end, then the captions to theirs.

        Args:
          images: (key, name) of each image, captioned or not; the keys all int or all str. Of a
            key that comes twice the first name counts. None: the images are those that the
            captions name, in order of first mention, with the key as name.
          captions: (key, caption) in any order; a caption is text, or bytes of the caller's.

        Raises:
          UserError: one image has more than 10,000 captions, or the temporary folder is full.
        """
        self._path = scratch.folder_for(self) / "captions.sqlite"
        with scratch.database(self._path) as database:
            _fill(database, images, captions)
            _check_largest(database)
            self._count = database.execute("SELECT count(*) FROM image").fetchone()[0]
            self.unknown, self.unknown_key = database.execute(
                "SELECT count(*), (SELECT key FROM stray ORDER BY rowid LIMIT 1) FROM stray"
            ).fetchone()

    def __len__(self) -> int:
        """Number of images."""
        return self._count

    def read(self, start: int, stop: int) -> Iterator[tuple[Key, str, list[Any]]]:
        """Yields (key, name, captions) of images `start` to `stop`."""
        query = (
            "SELECT position, key, name, text FROM image LEFT JOIN caption USING (position) "
            "WHERE position >= ? AND position < ? ORDER BY position, caption.rowid"
        )
        with scratch.database(self._path) as database:
            rows = database.execute(query, (start, stop))
            for (_, key, name), group in itertools.groupby(rows, key=lambda row: row[:3]):
                yield key, name, [text for *_, text in group if text is not None]

    def names(self) -> Iterator[str]:
        """Name of each image."""
        with scratch.database(self._path) as database:
            for (name,) in database.execute("SELECT name FROM image ORDER BY position"):
                yield name

    def captions(self) -> Iterator[Any]:
        """Yields every caption, image by image."""
        with scratch.database(self._path) as database:
            for (text,) in database.execute("SELECT text FROM caption ORDER BY rowid"):
                yield text


def _fill(
    database: sqlite3.Connection,
    images: Iterable[tuple[Key, str]] | None,
    captions: Iterable[tuple[Key, Caption]],
) -> None:
    """Both tables in order of position; the sorting is SQLite's, which spills to disk."""
    named = "SELECT key, key AS name, rowid AS row FROM given"
    if images is not None:
        named = "SELECT key, name, rowid AS row FROM named"
        database.execute("CREATE TABLE named (key, name)")
        database.executemany("INSERT INTO named VALUES (?, ?)", images)
    database.execute("CREATE TABLE given (key, text)")
    database.executemany("INSERT INTO given VALUES (?, ?)", captions)
    database.execute("CREATE TABLE image (position INTEGER PRIMARY KEY, key, name)")
    database.execute(
        "INSERT INTO image SELECT row_number() OVER (ORDER BY first) - 1, key, name "
        f"FROM (SELECT key, name, min(row) AS first FROM ({named}) GROUP BY key)"
    )
    database.execute("CREATE UNIQUE INDEX image_key ON image (key)")
    database.execute("CREATE TABLE caption (position INTEGER, text)")
    database.execute(
        "INSERT INTO caption SELECT position, text FROM given JOIN image USING (key) "
        "ORDER BY position, given.rowid"
    )
    database.execute("CREATE INDEX caption_position ON caption (position)")
    database.execute(
        "CREATE TABLE stray AS SELECT key FROM given WHERE key NOT IN (SELECT key FROM image)"
    )
    database.execute("DROP TABLE given")
    database.commit()


def _check_largest(database: sqlite3.Connection) -> None:
    row = database.execute(
        "SELECT name, count(*) AS captions FROM caption JOIN image USING (position) "
        "GROUP BY position HAVING captions > ? ORDER BY captions DESC LIMIT 1",
        (MAX_CAPTIONS,),
    ).fetchone()
    if row is not None:
        raise UserError(
            f"image {str(row[0])[:200]!r} has {row[1]} captions; at most {MAX_CAPTIONS} are "
            "allowed: check which column names the image"
        )
