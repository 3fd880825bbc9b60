"""Images of a folder whose captions lie in a text of their name, beside them or elsewhere."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from input_pipeline import scratch
from input_pipeline.errors import UserError
from input_pipeline.images.decode import Rejected
from input_pipeline.readers import rows as kinds
from input_pipeline.readers import text_files
from input_pipeline.readers.caption_groups import MAX_CAPTIONS
from input_pipeline.readers.file_names import SUFFIXES, files_below
from input_pipeline.sources.base import Example

_TEXTS = (".txt", ".caption", ".captions", ".text", ".json")  # the first that is there counts
_MAX_TEXT_BYTES = 1 << 20
_TABLES = (".csv", ".tsv", ".json", ".jsonl", ".txt", ".parquet", ".tar", ".h5", ".zip")


class TextsBeside:
    """Images with a text each; a text without an image counts as an image that is missing.

    Attributes:
      bad: (where, reason) of captions that could not be used; here there are none.
    """

    def __init__(self, folder: Path, texts: Path | None = None) -> None:
        """Lists the files' names once, on disk, sorted.

        Args:
          folder: of the images.
          texts: of the texts; None: the images' own.

        Raises:
          UserError: no image has a text.
        """
        self.bad: list[tuple[str, str]] = []
        self._encodings = text_files.Encodings()
        self._folder, self._texts = folder, texts or folder
        self._path = scratch.folder_for(self) / "names.sqlite"
        with scratch.database(self._path) as database:
            # Paths as bytes: a file's name need not be text.
            database.execute("CREATE TABLE image (path BLOB, stem BLOB)")
            database.execute("CREATE TABLE text (path BLOB, stem BLOB, rank)")
            database.executemany("INSERT INTO image VALUES (?, ?)", self._images())
            database.executemany("INSERT INTO text VALUES (?, ?, ?)", self._text_files())
            database.execute("CREATE INDEX text_stem ON text (stem)")
            database.execute("CREATE INDEX image_stem ON image (stem)")
            database.execute("CREATE INDEX image_path ON image (path)")
            database.execute(
                "CREATE TABLE name (split, position INTEGER, path BLOB, text BLOB, is_image)"
            )
            text = "(SELECT text.path FROM text WHERE text.stem IN (image.stem, image.path) "
            given = (
                f"SELECT path, {text} ORDER BY rank LIMIT 1), 1 FROM image UNION ALL "
                "SELECT path, path, 0 FROM text WHERE rank < 4 AND NOT EXISTS "
                "(SELECT 1 FROM image WHERE image.stem = text.stem OR image.path = text.stem) "
            )
            rows = database.execute(f"{given} ORDER BY 1")
            database.executemany("INSERT INTO name VALUES (?, ?, ?, ?, ?)", self._split(rows))
            database.execute("CREATE INDEX name_position ON name (split, position)")
            database.commit()
            counted = "SELECT split, count(*) FROM name GROUP BY split"
            self._counts: dict[str, int] = dict(database.execute(counted))
            images, captioned = database.execute(
                "SELECT count(*), count(text) FROM name WHERE is_image"
            ).fetchone()
        if not captioned:
            raise UserError(self._nothing(images))

    def splits(self) -> dict[str, int]:
        """Returns the number of images of each split; "" for those of none."""
        return dict(self._counts)

    def notes(self) -> Iterator[str]:
        """Yields encodings other than UTF-8; every name is exact."""
        return self._encodings.notes()

    def examples(self, split: str, start: int, stop: int) -> Iterator[Example]:
        """Yields examples `start` to `stop` of a split, in the order of their paths."""
        query = (
            "SELECT path, text, is_image FROM name WHERE split = ? AND position >= ? "
            "AND position < ? ORDER BY position"
        )
        with scratch.database(self._path) as database:
            for path, text, is_image in database.execute(query, (split, start, stop)):
                yield self._example(os.fsdecode(path), text and os.fsdecode(text), is_image)

    def _example(self, name: str, text: str | None, is_image: bool) -> Example:
        try:
            captions = self._read(text) if text else ()
        except Rejected as error:
            return Example(name, error, ())
        return Example(name, self._folder / name if is_image else Rejected("missing"), captions)

    def _read(self, text: str) -> tuple[str, ...]:
        path = self._texts / text
        # A link may lead anywhere: to a file that is no caption and nobody's business.
        if not os.path.realpath(path).startswith(os.path.realpath(self._texts) + os.sep):
            raise Rejected("captions_outside")
        if not path.is_file():  # a pipe would wait for ever
            raise Rejected("unreadable_captions")
        try:
            with path.open("rb") as file:
                data = file.read(_MAX_TEXT_BYTES + 1)
            if len(data) > _MAX_TEXT_BYTES:
                raise Rejected("unreadable_captions")
            decoded, encoding = text_files.decode(data)
            captions = _captions(decoded, path)
        except (OSError, ValueError):
            raise Rejected("unreadable_captions") from None
        if len(captions) > MAX_CAPTIONS:
            raise Rejected("unreadable_captions")
        self._encodings.add(text, encoding)
        return captions

    def _images(self) -> Iterator[tuple[bytes, bytes]]:
        for name in files_below(self._folder):
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in SUFFIXES:
                yield os.fsencode(name), os.fsencode(stem)

    def _text_files(self) -> Iterator[tuple[bytes, bytes, int]]:
        for name in files_below(self._texts):
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in _TEXTS:
                yield os.fsencode(name), os.fsencode(stem), _TEXTS.index(suffix.lower())

    def _split(self, rows: Iterator[tuple[bytes, bytes, int]]) -> Iterator[tuple[object, ...]]:
        """The same with a split and a place in it: that of folders train, validation and test."""
        folders = {
            path.name: kinds.split_named(path.name)
            for path in self._folder.iterdir()
            if path.is_dir()
        }
        loose = any(path.suffix.lower() in SUFFIXES for path in self._folder.iterdir())
        known = not loose and all(folders.values()) and "train" in folders.values()
        places: dict[str, int] = {}
        for path, text, is_image in rows:
            split = folders.get(os.fsdecode(path).split(os.sep)[0], "") if known else ""
            places[split] = places.get(split, -1) + 1
            yield split, places[split], path, text, is_image

    def _nothing(self, images: int) -> str:
        others = sorted(
            path.name
            for path in self._folder.iterdir()
            if path.is_file() and path.suffix.lower() in _TABLES
        )
        if not images:
            kinds_there = {Path(name).suffix.lower() for name in others}
            for suffix, source in ((".parquet", "parquet"), (".tar", "webdataset")):
                if suffix in kinds_there:
                    return (
                        f"--images={self._folder} has no image, but {suffix} files: use "
                        f"--source={source} --files={self._folder}"
                    )
            return f"--images={self._folder} has no image ({', '.join(SUFFIXES)})"
        there = ""
        if others:
            some = ", ".join(others[:5]) + (", ..." if len(others) > 5 else "")
            there = (
                f"; {some} is there: if it has the captions, --captions={self._folder / others[0]}"
            )
        return (
            f"{self._folder}: {images:,} images, none has a text of its name beside it "
            f"({', '.join(_TEXTS)}){there or '; give --captions=FILE or --texts=DIR'}"
        )


def _captions(text: str, path: Path) -> tuple[str, ...]:
    if path.suffix.lower() == ".json":
        try:
            captions = kinds.caption_texts(json.loads(text))
        except RecursionError:
            raise ValueError("lists within lists") from None
        if captions is None:
            raise ValueError("no caption")
        lines = [text_files.whole(caption) for caption in captions]
    else:
        lines = text.splitlines()
    return tuple(line.strip() for line in lines if line.strip())
