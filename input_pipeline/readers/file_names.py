"""Images' files under the names that a table gives them, or nearly: what is bridged is counted."""

from __future__ import annotations

import collections
import difflib
import functools
import os
import sqlite3
import unicodedata
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from input_pipeline import scratch
from input_pipeline.errors import UserError

SUFFIXES = (
    *(".jpg", ".jpeg", ".jfif", ".jpe", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
    *(".heic", ".heif", ".avif"),
)
_NEAREST_OF = 2000  # names that are compared with one that is missing

# How a file was found, for people; "" where the name is exact.
SLASHES = "with / for \\"
FOLDERS = "without the name's first folders"
FORM = "in another letter case or Unicode form"
SUFFIX = "with a suffix that the name lacks"
BELOW = "in a folder below"
NUMBER = "by number"


class FileNames:
    """Files of a folder, by name.

    Attributes:
      folder: the folder.
      bridged: {how: (how often, a name, its file)} of names that are not exact.
      missing: how many names have no file.
      first_missing: the first of them, or None.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bridged: dict[str, tuple[int, str, str]] = {}
        self.missing = 0
        self.first_missing: str | None = None
        self._root = os.path.abspath(folder)

    def find(self, name: str) -> str | None:
        """Returns the path within the folder of a name's file, counted; None where there is none.

        Raises:
          ValueError: the name leads out of the folder.
        """
        path, how = self._find(name)
        if path is None:
            self.missing += 1
            self.first_missing = self.first_missing or name
        elif how:
            count, first, file = self.bridged.get(how, (0, name, path))
            self.bridged[how] = (count + 1, first, file)
        return path

    def notes(self) -> Iterator[str]:
        """Yields a line for each way in which names were bridged, and one for those missing."""
        for how, (count, name, file) in self.bridged.items():
            yield f"{_images(count)} found {how}: e.g. {name!r} is {file!r}"
        if self.missing and self.first_missing is not None:
            near = self.nearest(self.first_missing)
            nearest = f"; the nearest file there is {near!r}" if near else "; no file is like it"
            if near is None and not self._count:
                nearest = "; the folder has no image"
            tried = self.folder / self.first_missing.replace("\\", "/")
            yield f"{_images(self.missing)} missing, e.g. {tried}{nearest}"

    def nearest(self, name: str) -> str | None:
        """Returns the file whose name is most like a name that is missing, or None."""
        base = _folded(PurePosixPath(name.replace("\\", "/")).name)
        with scratch.database(self._index) as database:
            query = "SELECT base, path FROM file ORDER BY abs(length(base) - ?) LIMIT ?"
            rows = {
                row[0]: os.fsdecode(row[1])
                for row in database.execute(query, (len(base), _NEAREST_OF))
            }
        near = difflib.get_close_matches(base, rows, 1, 0.5)
        return rows[near[0]] if near else next(iter(rows.values()), None)

    def _find(self, name: str) -> tuple[str | None, str]:
        plain = name.strip()
        if plain.startswith(self._root + os.sep):  # an absolute name inside the folder
            plain = plain[len(self._root) + 1 :]
        slashed = plain.replace("\\", "/")
        parts = [part for part in PurePosixPath(slashed).parts if part not in ("/", ".")]
        if ".." in parts or not parts or "\0" in plain:
            raise ValueError("the name leads out of the folder")
        for first in range(len(parts)):
            path = "/".join(parts[first:])
            if os.path.isfile(os.path.join(self._root, path)):
                return path, FOLDERS if first else SLASHES if "\\" in plain else ""
        if plain != slashed and os.path.isfile(os.path.join(self._root, plain)):
            return plain, ""
        return self._in_index(parts)

    def _in_index(self, parts: list[str]) -> tuple[str | None, str]:
        ends = [_folded("/".join(parts[first:])) for first in range(len(parts))]
        base = ends[-1]
        stem, suffix = os.path.splitext(base)
        has_suffix = suffix in SUFFIXES
        with scratch.database(self._index) as database:
            for end in ends:
                if path := _only(database, "folded = ?", end):
                    return path, FORM
            if not has_suffix and (path := _only(database, "stem = ?", base)):
                return path, SUFFIX
            if path := _only(database, "base = ?", base):
                return path, BELOW
            number = _number(stem if has_suffix else base)
            if number and (path := _only(database, "number = ?", number)):
                return path, NUMBER
        return None, ""

    @functools.cached_property
    def _index(self) -> Path:
        """Every image of the folder, on disk: made when the first name is not exact."""
        path = scratch.folder_for(self) / "files.sqlite"
        with scratch.database(path) as database:
            database.execute("CREATE TABLE file (path BLOB, folded, base, stem, number)")
            database.executemany("INSERT INTO file VALUES (?, ?, ?, ?, ?)", self._keys())
            for column in ("folded", "base", "stem", "number"):
                database.execute(f"CREATE INDEX by_{column} ON file ({column})")
            database.commit()
            self._count = database.execute("SELECT count(*) FROM file").fetchone()[0]
        return path

    def _keys(self) -> Iterator[tuple[bytes, str, str, str, str]]:
        for name in files_below(self.folder):
            if os.path.splitext(name)[1].lower() in SUFFIXES:
                folded = _folded(name)
                base = folded.rpartition("/")[2]
                stem = os.path.splitext(base)[0]
                yield os.fsencode(name), folded, base, stem, _number(stem)


def _only(database: sqlite3.Connection, condition: str, value: str) -> str | None:
    """The one file of a condition; None where there are none, or several."""
    rows = database.execute(f"SELECT path FROM file WHERE {condition} LIMIT 2", (value,)).fetchall()
    return os.fsdecode(rows[0][0]) if len(rows) == 1 else None


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count:,} images"


def _number(stem: str) -> str:
    """COCO's 000000000012 as 12; empty where it is no number."""
    return stem.lstrip("0") or "0" if stem.isascii() and stem.isdigit() else ""


def _folded(name: str) -> str:
    """A name without letter case and in one Unicode form."""
    text = name.encode("utf-8", "backslashreplace").decode()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def files_below(folder: Path) -> Iterator[str]:
    """Yields paths of all files in a folder, hidden ones aside; each folder is read once.

    Links to folders are followed.
    """
    ahead, seen = collections.deque([""]), set()
    try:
        while ahead:
            inside = ahead.popleft()
            status = os.stat(folder / inside)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder / inside) as entries:
                for entry in entries:
                    if entry.name.startswith("."):  # ._a.jpg of a Mac, .DS_Store, .git
                        continue
                    name = os.path.join(inside, entry.name)
                    # `entry.is_dir()` would raise for a link to itself.
                    is_link = entry.is_symlink()
                    if os.path.isdir(entry.path) if is_link else entry.is_dir():
                        ahead.append(name)
                    else:
                        yield name
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}") from error
