"""A folder of images and a table of captions as an image set."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from input_pipeline.dataset.open import Dataset
from input_pipeline.errors import UserError
from input_pipeline.images import decode as image_files
from input_pipeline.readers.caption_tables import read_table
from input_pipeline.sources.base import is_inside
from t2igan.metrics.engine import image_sets
from t2igan.metrics.engine.image_sets import ImageSet

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


def of_folder(
    folder: Path, captions: Path | None, dataset: Dataset | None, split: str, num: int = 0
) -> ImageSet:
    """Returns the images of a folder, each with the first caption that the table has for it.

    They are resized to the size of the data set, or of the first image, where they differ.

    Args:
      folder: of image files.
      captions: a .csv or .jsonl with file and caption; None where captions do not matter.
      dataset: whose words and size to use, and where to look the captions up.
      split: of the data set, where each caption belongs to a real image.
      num: take the first so many, in the order of the table or of the names; 0 for all.

    Raises:
      UserError: no folder, no images, a file that is missing or cannot be read, a bad table.
    """
    if not folder.is_dir():
        raise UserError(f"--images={folder}: there is no such folder")
    files, texts = _listed(folder, captions)
    if num > len(files):
        raise UserError(f"--num={num}: {folder} has {len(files)} images")
    files, texts = files[: num or None], texts[: num or None]
    size = dataset.image_size if dataset else _read(files[0], None).shape[0]

    def at(rows: np.ndarray) -> np.ndarray:
        return np.stack([_read(files[row], size) for row in rows])

    codes = partners = None
    if dataset is not None and captions is not None:
        length = dataset.caption_length
        codes = np.stack([dataset.vocabulary.encode(text, length) for text in texts])
        partners = _partners(dataset, split, codes)
    about = {
        "captions": str(captions) if captions else "none",
        "names_sha256": hashlib.sha256("\n".join(file.name for file in files).encode()).hexdigest(),
        "resized": f"bicubic to {size} where of another size",
    }
    return ImageSet("fake", len(files), at, codes, partners, about)


def _listed(folder: Path, captions: Path | None) -> tuple[list[Path], list[str]]:
    if captions is None:
        files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
        if not files:
            raise UserError(f"--images={folder}: no images in it ({', '.join(SUFFIXES)})")
        return files, [""] * len(files)
    first: dict[str, str] = {}
    for name, caption in read_table(captions):
        if not is_inside(name):
            raise UserError(f"{captions}: the file name {name!r} leads out of {folder}")
        first.setdefault(name, caption)
    if not first:
        raise UserError(f"{captions}: no rows; expected a file and a caption in each")
    return [folder / name for name in first], list(first.values())


def _read(file: Path, size: int | None) -> np.ndarray:
    try:
        pixels = image_files.decode(file)
    except image_files.Rejected as error:
        raise UserError(f"{file} cannot be measured: {error.reason}") from None
    if size is None or pixels.shape[:2] == (size, size):
        return pixels
    return image_files.resize(pixels, size)


def _partners(dataset: Dataset, split: str, codes: np.ndarray) -> np.ndarray | None:
    """The real image of each caption, where every caption is one of the split's."""
    source = dataset.source(split)
    known: dict[bytes, int] = {}
    for rows in image_sets.blocks(len(source)):
        indices = np.arange(rows.start, rows.stop)
        for index, lines in zip(indices, source.__getitems__(indices)["captions"], strict=True):
            for line in lines:
                known.setdefault(np.asarray(line, np.int32).tobytes(), int(index))
    found = [known.get(np.asarray(row, np.int32).tobytes()) for row in codes]
    return None if None in found else np.array(found)
