"""Writers of generated images: a captioned grid, an animation, or a folder with a manifest."""

from __future__ import annotations

import errno
import json
import os
import re
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from input_pipeline.errors import UserError
from input_pipeline.files import read_lines, replaced
from t2igan.sampling import animation
from t2igan.sampling.grid import captioned_grid, grid_shape

# Formats of a grid with the most pixels that a side of one may have.
GRID_SIDES = {".png": 1 << 16, ".jpg": 65_500, ".jpeg": 65_500, ".webp": 16_383}
MANIFEST = "manifest.jsonl"
_OUR_NAME = re.compile(r"\d{5,}_\d{3,}\.png")
_GRID_PIXELS = 200_000_000
_OTHER_PICTURES = (".avif", ".bmp", ".heic", ".pdf", ".ppm", ".svg", ".tif", ".tiff")


class SampleWriter(Protocol):
    """Takes rows of images; a context manager."""

    def __enter__(self) -> SampleWriter: ...

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None: ...

    def add(self, label: str, images: np.ndarray, about: dict[str, Any]) -> None:
        """Takes a row: its caption, uint8 [num, S, S, 3], and how it was made."""


def open_writer(out: Path, rows: int, num: int, image_size: int) -> SampleWriter:
    """Returns the writer that the name asks for, its folder made.

    Args:
      out: a grid where it ends like an image, an animation where it ends in .gif or .mp4, else a
        folder.
      rows: captions.
      num: images a caption.
      image_size: pixels.

    Raises:
      UserError: no grid can be so large, no such format is written, or a file is in the way.
    """
    suffix = out.suffix.lower()
    if suffix in animation.SUFFIXES:
        _make(out.parent, out)
        return animation.Animation(out)
    if suffix in _OTHER_PICTURES:
        raise UserError(f"--out={out}: grids are written as {', '.join(GRID_SIDES)}")
    if suffix in GRID_SIDES:
        width, height = grid_shape(rows, num, image_size)
        if max(width, height) > GRID_SIDES[suffix] or width * height > _GRID_PIXELS:
            raise UserError(
                f"--out={out}: a grid of {rows} x {num} images would be {width} x {height} "
                "pixels; give a folder, e.g. --out=images"
            )
    folder = out.parent if suffix in GRID_SIDES else out
    _make(folder, out)
    return _Grid(out) if suffix in GRID_SIDES else _Folder(out)


def _make(folder: Path, out: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f"--out={out}: {folder} is not a folder; give another --out") from error


class _Grid:
    """One image of all, a row a caption, written at the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._labels: list[str] = []
        self._images: list[np.ndarray] = []

    def __enter__(self) -> _Grid:
        return self

    def add(self, label: str, images: np.ndarray, about: dict[str, Any]) -> None:
        self._labels.append(label)
        self._images.append(images)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if error is not None:
            return
        sheet = captioned_grid(np.stack(self._images), self._labels)
        if self._path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(self._path))
        part = self._path.with_name(f".{self._path.name}.part")
        try:  # whole or not at all: a full disk would leave half an image
            sheet.save(part, format=Image.registered_extensions()[self._path.suffix.lower()])
            os.replace(part, self._path)
        finally:
            part.unlink(missing_ok=True)


class _Folder:
    """Each image as a PNG, and `manifest.jsonl` saying what each is and how to redo it.

    Killed at any moment, the folder holds whole images, and a manifest that names them. What an
    earlier call's manifest names is removed: two calls' images in one folder would be measured as
    one set.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows = 0

    def __enter__(self) -> _Folder:
        manifest = self._path / MANIFEST
        for name in manifest_names(self._path) or ():
            if _OUR_NAME.fullmatch(name):
                (self._path / name).unlink(missing_ok=True)
        self._manifest = manifest.open("w", encoding="utf-8")
        return self

    def add(self, label: str, images: np.ndarray, about: dict[str, Any]) -> None:
        for column, image in enumerate(images):
            name = f"{self._rows:05d}_{column:03d}.png"
            with replaced(self._path / name) as part:
                Image.fromarray(image).save(part, format="PNG")
            entry = {"file": name, "caption": label, "num": column} | about
            self._manifest.write(json.dumps(entry, ensure_ascii=False) + "\n")
            self._manifest.flush()
        self._rows += 1

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._manifest.close()


def manifest_names(folder: Path) -> list[str] | None:
    """Returns the images that a folder's manifest names, in order; None where it has none."""
    path = folder / MANIFEST
    if not path.is_file():
        return None
    return [str(line["file"]) for line in read_lines(path) if isinstance(line.get("file"), str)]
