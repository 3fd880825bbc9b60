"""A folder of images and a table of captions as an image set."""

from __future__ import annotations

import collections
import hashlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from input_pipeline.dataset.open import Dataset
from input_pipeline.errors import UserError
from input_pipeline.files import read_lines
from input_pipeline.images import decode as image_files
from input_pipeline.readers.captions_file import open_captions
from input_pipeline.readers.file_names import SUFFIXES, FileNames, files_below
from input_pipeline.readers.rows import BadRow
from t2igan.metrics.engine import image_sets
from t2igan.metrics.engine.image_sets import ImageSet

MANIFEST = "manifest.jsonl"  # that `t2igan sample --out=FOLDER` writes
_FEW, _FEWEST = 100, 4


def of_folder(
    folder: Path, captions: Path | None, dataset: Dataset | None, split: str, num: int = 0
) -> ImageSet:
    """Returns the images of a folder, each with the first caption that the table has for it.

    They are resized to the size of the data set, or of the first image, where they differ. Those
    that cannot be decoded are counted, said and left out. Where `sample` has left its manifest, the
    images are those that it names.

    Args:
      folder: of image files, in sub-folders too.
      captions: a file of captions, see `readers.captions_file`; None: those of the manifest, or
        none.
      dataset: whose words and size to use, and where to look the captions up.
      split: of the data set, where each caption belongs to a real image.
      num: take the first so many, in the order of the table or of the names; 0 for all.

    Raises:
      UserError: no folder, no images, or none that can be read.
    """
    if not folder.is_dir():
        raise UserError(f"--images={folder}: there is no such folder")
    names, texts = _listed(folder, captions)
    if num > len(names):
        raise UserError(f"--num={num}: {folder} has {len(names)} images")
    names, texts = names[: num or None], texts[: num or None]
    pixels, kept = _decoded(folder, names, dataset.image_size if dataset else None)
    names = [names[index] for index in kept]
    texts = [texts[index] for index in kept]
    if len(names) < _FEWEST:
        raise UserError(
            f"--images={folder}: {len(names)} images are too few to measure; give {_FEWEST} or more"
        )
    if len(names) < _FEW:
        print(
            f"t2igan: warning: {len(names)} images are too few for most metrics: distances and "
            f"shares of fewer than {_FEW} say little",
            file=sys.stderr,
        )
    codes = partners = None
    if dataset is not None and any(texts):
        length = dataset.caption_length
        codes = np.stack([dataset.vocabulary.encode(text, length) for text in texts])
        partners = _partners(dataset, split, codes)
    about = {
        "captions": str(captions) if captions else "manifest" if any(texts) else "none",
        "names_sha256": hashlib.sha256("\n".join(names).encode(errors="replace")).hexdigest(),
        "resized": f"bicubic to {pixels.shape[1]} where of another size",
    }
    return ImageSet(
        "fake",
        len(names),
        lambda rows: np.asarray(pixels[rows]),
        codes,
        partners,
        about,
        texts=(lambda rows: [texts[row] for row in rows.tolist()]) if all(texts) else None,
    )


def _listed(folder: Path, captions: Path | None) -> tuple[list[str], list[str]]:
    """Names within the folder, and a caption of each; empty where there is none."""
    manifest = folder / MANIFEST
    first: dict[str, str] = {}
    if captions is None and manifest.is_file():
        for line in read_lines(manifest):
            if isinstance(line.get("file"), str):
                first.setdefault(line["file"], str(line.get("caption", "")))
        names = [name for name in first if (folder / name).is_file()]
        if names:
            return names, [first[name] for name in names]
    if captions is None:
        found = sorted(n for n in files_below(folder) if Path(n).suffix.lower() in SUFFIXES)
        if not found:
            raise UserError(f"--images={folder}: no images in it ({', '.join(SUFFIXES)})")
        return found, [""] * len(found)
    file = open_captions(captions)
    print(file.description(), file=sys.stderr)
    for row in file.rows():
        if not isinstance(row, BadRow) and row.captions:
            first.setdefault(row.name, row.captions[0])
    if not first:
        raise UserError(f"{captions}: no rows; expected a file and a caption in each")
    files = FileNames(folder)
    placed: dict[str, str] = {}
    for name, text in first.items():
        try:
            path = files.find(name)
        except ValueError:
            raise UserError(f"{captions}: the file name {name!r} leads out of {folder}") from None
        if path is not None:
            placed.setdefault(path, text)
    for note in files.notes():
        print(note, file=sys.stderr)
    if not placed:
        raise UserError(f"{captions} names no image of {folder}")
    return list(placed), list(placed.values())


def _decoded(folder: Path, names: Sequence[str], size: int | None) -> tuple[np.ndarray, list[int]]:
    """uint8 [n, S, S, 3] images on disk, and the indices of the names that could be decoded."""
    kept: list[int] = []
    bad: collections.Counter[str] = collections.Counter()
    first_bad = ""
    pixels: np.ndarray | None = None
    for index, name in enumerate(tqdm(names, desc="reading images", unit="", delay=2)):
        try:
            image = image_files.decode(folder / name)
        except image_files.Rejected as error:
            bad[error.reason] += 1
            first_bad = first_bad or name
            continue
        size = size or image.shape[0]
        if image.shape[:2] != (size, size):
            image = image_files.resize(image, size)
        if pixels is None:
            pixels = _on_disk((len(names), size, size, 3))
        pixels[len(kept)] = image
        kept.append(index)
    if bad:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in bad.most_common())
        message = f"{folder}: {bad.total():,} images left out: {reasons}, e.g. {first_bad}"
        if pixels is None:
            raise UserError(f"{message}; none is left")
        print(f"t2igan: warning: {message}", file=sys.stderr)
    assert pixels is not None
    return pixels[: len(kept)], kept


def _on_disk(shape: tuple[int, ...]) -> np.ndarray:
    """A table in a file that has no name any more: it goes away with the table."""
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, np.uint8, "w+", shape=shape)


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
