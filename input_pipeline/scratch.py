"""Temporary SQLite files: what must be sorted or counted, and must not grow memory."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path

from input_pipeline.errors import UserError

_CACHE_KIB = 32 * 1024


def folder_for(owner: object) -> Path:
    """Returns a new temporary folder (`TMPDIR` chooses where) that goes away with `owner`."""
    folder = tempfile.mkdtemp(prefix="t2igan-")
    # The process that made the folder removes it: not a worker forked from it.
    weakref.finalize(owner, _remove, folder, os.getpid())
    return Path(folder)


@contextlib.contextmanager
def database(path: Path) -> Iterator[sqlite3.Connection]:
    """Yields a connection of one's own to a scratch file.

    Opened anew for each use: connections cross neither threads nor forks.

    Raises:
      UserError: the disk is full or cannot be written.
    """
    try:
        with contextlib.closing(sqlite3.connect(path, check_same_thread=False)) as connection:
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            # Nothing of it is worth a journal.
            connection.execute("PRAGMA journal_mode = OFF")
            connection.execute("PRAGMA synchronous = OFF")
            yield connection
    except sqlite3.Error as error:
        raise UserError(
            f"the temporary file {path} failed: {error}; set TMPDIR to a folder on a disk with "
            "room and run again"
        ) from error


def shared(pairs: Iterable[tuple[bytes, bytes]], at_least: int, most: int) -> list[bytes]:
    """Returns keys that come with several different members, those with the most first.

    Args:
      pairs: (key, member), any number of them.
      at_least: different members that a key must have, >= 1.
      most: no more keys than this are given.

    Raises:
      UserError: the disk is full or cannot be written.
    """
    with (
        tempfile.TemporaryDirectory(prefix="t2igan-") as folder,
        database(Path(folder) / "pairs.sqlite") as connection,
    ):
        connection.execute("CREATE TABLE pair (key, member)")
        connection.executemany("INSERT INTO pair VALUES (?, ?)", pairs)
        rows = connection.execute(
            "SELECT key, count(DISTINCT member) AS members FROM pair GROUP BY key "
            "HAVING members >= ? ORDER BY members DESC, key LIMIT ?",
            (at_least, most),
        )
        return [key for key, _ in rows]


def _remove(folder: str, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
