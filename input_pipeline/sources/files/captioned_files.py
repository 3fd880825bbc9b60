"""Images in a folder that a file of captions names, gathered by image and split."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from tqdm import tqdm

from input_pipeline import scratch
from input_pipeline.errors import UserError
from input_pipeline.images.decode import Rejected
from input_pipeline.readers.caption_groups import CaptionGroups
from input_pipeline.readers.captions_file import CaptionsFile
from input_pipeline.readers.file_names import FileNames
from input_pipeline.readers.rows import BadRow
from input_pipeline.sources.base import Example

_MOST_LISTED = 100_000  # bad rows, in memory


class CaptionedFiles:
    """Images of a folder with the captions that a file, or several, have for them.

    Attributes:
      bad: (where, reason) of rows that could not be used.
    """

    def __init__(self, folder: Path, files: Iterable[tuple[CaptionsFile, str, str]]) -> None:
        """Reads all captions, and looks for each image once.

        Args:
          folder: of the images.
          files: each with the split that its images belong to, empty where the file says, and
            what stands before its names, e.g. "train/".

        Raises:
          UserError: all rows of the files are bad.
        """
        self._folder = folder
        self.bad: list[tuple[str, str]] = []
        self._groups = CaptionGroups(None, self._captions(files))
        if not len(self._groups):
            some = "; ".join(f"{where}: {reason}" for where, reason in self.bad[:3])
            raise UserError(f"no row can be used: {some or 'there is none'}")
        self._names = FileNames(folder)
        self._places = scratch.folder_for(self) / "places.sqlite"
        with scratch.database(self._places) as database:
            database.execute("CREATE TABLE place (name PRIMARY KEY, path BLOB, reason)")
            names = tqdm(self._groups.names(), desc="finding images", unit="", delay=2)
            database.executemany(
                "INSERT OR IGNORE INTO place VALUES (?, ?, ?)", map(self._place, names)
            )
            database.commit()

    def splits(self) -> dict[str, int]:
        """Returns the number of images of each split; "" for those of none."""
        return self._groups.splits()

    def notes(self) -> Iterator[str]:
        """Yields lines on how images were found, and which are missing."""
        return self._names.notes()

    def examples(self, split: str, start: int, stop: int) -> Iterator[Example]:
        """Yields examples `start` to `stop` of a split, in the order of first mention."""
        with scratch.database(self._places) as database:
            for key, name, captions in self._groups.read(start, stop, split):
                row = database.execute(
                    "SELECT path, reason FROM place WHERE name = ?", (name,)
                ).fetchone()
                path, reason = row if row else (None, "missing")
                image = Rejected(reason) if path is None else self._folder / os.fsdecode(path)
                yield Example(str(key), image, tuple(filter(None, captions)), file=name)

    def _place(self, name: str) -> tuple[str, bytes | None, str]:
        try:
            path = self._names.find(name)
        except ValueError:
            return name, None, "bad_name"
        # As bytes: a file's name need not be text.
        return (name, None, "missing") if path is None else (name, os.fsencode(path), "")

    def _captions(
        self, files: Iterable[tuple[CaptionsFile, str, str]]
    ) -> Iterator[tuple[str, str, str, str]]:
        for file, split, prefix in files:
            print(file.description(), file=sys.stderr)
            for row in tqdm(file.rows(), desc=f"reading {file.path.name}", unit="", delay=2):
                if isinstance(row, BadRow):
                    self._note(f"{file.path.name} {row.where}", row.reason)
                    continue
                name = prefix + row.name
                key = f"{row.key}_{name}" if row.key else name
                captions = [caption for caption in row.captions if caption.strip()]
                for _ in range(len(row.captions) - len(captions)):
                    self._note(f"{file.path.name} {row.where}: {name}", "empty_caption")
                for caption in captions or [""]:
                    yield key, caption.strip(), split or row.split, name

    def _note(self, where: str, reason: str) -> None:
        if len(self.bad) < _MOST_LISTED:
            self.bad.append((where, reason))
