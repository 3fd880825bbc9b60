"""The one program that opens HDF5: reads a caption file, checks it, and writes it out plainly.

    python -m input_pipeline.readers.hdf5_reader FILE.h5 train|test|any

HDF5 can do more than hold numbers: point into other files, declare terabytes in a few bytes, hold
Python objects. Nothing is read before that is ruled out, and everything is read in pieces. And its
library hangs or crashes on some damaged files, which nothing inside a process can prevent: so this
is a process of its own, which `hdf5_layout` starts, listens to, and ends.

What it writes: one JSON object a line. First the sizes and the words; then lists of URLs; then
image indices and codes, the bytes of both right behind their line; then the end. Or an error.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from input_pipeline.errors import UserError
from input_pipeline.text.vocabulary import MAX_WORDS, SPECIAL_WORDS, plain_words

MAX_IMAGES = 100_000_000
MAX_CAPTIONS = 1_000_000_000
MAX_CAPTION_LENGTH = 1024
MAX_URL_BYTES = 4096

_MAX_MEMORY = 4 * 1024**3
# What one read may take; a compressed chunk is always read whole.
_PIECE_BYTES = 4 * 1024**2
_MAX_CHUNK_BYTES = 128 * 1024**2
# No filter of HDF5's packs real numbers tighter (deflate's limit is 1032).
_MAX_COMPRESSION = 1100
_HARMLESS_BYTES = 1024**2


def main(path: Path, split: str, out: BinaryIO) -> None:
    """Writes the whole file out, or the error that ends it.

    Args:
      path: an HDF5 file.
      split: which data sets: `train`, `test`, or `any` for what the file has.
      out: where to.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            _write_file(file, split, out)
    except UserError as error:
        _write(out, error=str(error))
    except Exception as error:
        # Damaged files raise nearly every kind of error in HDF5.
        said = " ".join(str(error).split())[:200]
        _write(out, error=f"{path} cannot be read as HDF5 ({said}); fetch it again")
    out.flush()


def _write_file(file: h5py.File, split: str, out: BinaryIO) -> None:
    if split == "any":
        split = "train" if _link(file, "train_url") or not _link(file, "test_url") else "test"
    caption_name = "test_caps" if split == "test" else "train_cap"
    urls, imid = _dataset(file, f"{split}_url"), _dataset(file, f"{split}_imid")
    codes = _dataset(file, caption_name)
    _check_urls(urls)
    _check_integers(imid, dimensions=1)
    _check_integers(codes, dimensions=2)
    if len(imid) != len(codes):
        raise UserError(
            f"{file.filename} has {len(codes)} captions and {len(imid)} image numbers; one number "
            "a caption is expected: check the file"
        )
    _check_size(urls, len(urls), 1, MAX_IMAGES)
    _check_size(codes, len(codes), 1, MAX_CAPTIONS)
    _check_size(codes, codes.shape[1], 2, MAX_CAPTION_LENGTH)
    words = _words(file) if _link(file, "word_code") else None
    base = _base(imid, len(urls))
    _write(
        out, split=split, images=len(urls), captions=len(codes), length=codes.shape[1], words=words
    )
    for piece in _pieces(urls):
        _write(out, urls=[_text(file, url) for url in piece])
    for start, stop in _spans(codes):
        piece = codes[start:stop]
        _check_codes(piece, start, file.filename)
        _write(out, rows=stop - start)
        out.write((imid[start:stop].astype("<i8") - base).tobytes())
        out.write(piece.astype("<u2").tobytes())
    _write(out, end=True)


def _write(out: BinaryIO, **message: Any) -> None:
    out.write(json.dumps(message).encode() + b"\n")


def _link(file: h5py.File, name: str) -> object | None:
    """How the file leads to `name`, without going there; None where it does not."""
    return file.get(name, None, getlink=True)


def _dataset(file: h5py.File, name: str) -> h5py.Dataset:
    """A data set of the file's own, whose size is honest."""
    path = file.filename
    link = _link(file, name)
    if link is None:
        found = " ".join(itertools.islice(file, 20))[:200]
        raise UserError(f"{path} has no data set {name}; it has: {found or 'nothing'}")
    dataset = file[name] if isinstance(link, h5py.HardLink) else None
    if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
        raise UserError(
            f"{path}: {name} is a link, a group or stored elsewhere; only data sets in the file "
            "itself are read: copy it in (h5repack)"
        )
    if dataset.shape is None:
        raise UserError(f"{path}: {name} is empty; check the file")
    _check_honest(dataset)
    return dataset


def _check_honest(dataset: h5py.Dataset) -> None:
    path = dataset.file.filename
    declared = dataset.size * dataset.dtype.itemsize
    stored = dataset.id.get_storage_size()
    chunk = int(np.prod(dataset.chunks or (0,), dtype=object)) * dataset.dtype.itemsize
    if (
        stored > os.path.getsize(path)
        or declared > max(_HARMLESS_BYTES, stored * _MAX_COMPRESSION)
        or chunk > _MAX_CHUNK_BYTES
    ):
        raise UserError(
            f"{path}: {dataset.name} declares {declared} bytes, in pieces of {chunk}, and holds "
            f"{stored}; pieces of at most {_MAX_CHUNK_BYTES} that are really there are read: check "
            "the file"
        )


def _check_urls(urls: h5py.Dataset) -> None:
    text = h5py.check_string_dtype(urls.dtype)
    if text is None or urls.ndim != 1 or (text.length or 0) > MAX_URL_BYTES:
        raise UserError(
            f"{urls.file.filename}: {urls.name} is {urls.shape} of {urls.dtype}; a row of strings "
            f"of at most {MAX_URL_BYTES} bytes is expected"
        )


def _check_integers(dataset: h5py.Dataset, dimensions: int) -> None:
    if dataset.dtype.kind not in "iu" or dataset.ndim != dimensions:
        raise UserError(
            f"{dataset.file.filename}: {dataset.name} is {dataset.shape} of {dataset.dtype}; "
            f"integers in {dimensions} dimension(s) are expected"
        )


def _check_size(dataset: h5py.Dataset, size: int, least: int, most: int) -> None:
    if not least <= size <= most:
        raise UserError(
            f"{dataset.file.filename}: {dataset.name} has a side of {size}; {least} to {most} are "
            "allowed: check the file"
        )


def _words(file: h5py.File) -> list[str]:
    """Field names of `word_code` in the order of their values, MATLAB's changes undone."""
    path, table = file.filename, _dataset(file, "word_code")
    names = table.dtype.names or ()
    whole = all(table.dtype[name].kind in "iu" for name in names)
    if not names or not whole or table.size != 1 or len(names) > MAX_WORDS:
        raise UserError(
            f"{path}: word_code is {table.shape} of {len(names)} fields; one row of a compound "
            f"type is expected, with an integer field for each of at most {MAX_WORDS} words"
        )
    codes = [int(code) for code in table[()].reshape(-1)[0].item()]
    if sorted(codes) != list(range(len(codes))):
        raise UserError(
            f"{path}: word_code's {len(codes)} words have codes {min(codes)} to {max(codes)}; "
            f"each of 0 to {len(codes) - 1} is expected once: check the file"
        )
    words = plain_words([name for _, name in sorted(zip(codes, names, strict=True))])
    if tuple(words[:4]) != SPECIAL_WORDS or len(words) == 4:
        raise UserError(
            f"{path}: word_code's first words are {' '.join(words[:5])[:200]!r}; codes 0 to 3 must "
            f"be {' '.join(SPECIAL_WORDS)}, and a word follow: check the file"
        )
    return words


def _base(imid: h5py.Dataset, images: int) -> int:
    """Number of the first image: 1, or 0 where 0 occurs."""
    smallest = min(int(piece.min()) for piece in _pieces(imid))
    largest = max(int(piece.max()) for piece in _pieces(imid))
    base = 0 if smallest == 0 else 1
    if smallest < 0 or largest > images - 1 + base:
        raise UserError(
            f"{imid.file.filename}: {imid.name[1:]} runs from {smallest} to {largest}, but there "
            f"are {images} URLs; 1 to {images} are allowed (or 0 to {images - 1}): captions and "
            "URLs do not belong together"
        )
    return base


def _check_codes(codes: np.ndarray, start: int, path: str) -> None:
    bad = np.argwhere((codes < 0) | (codes >= MAX_WORDS))
    if len(bad):
        row, column = bad[0]
        raise UserError(
            f"{path}: caption {start + row} has the word code {codes[row, column]}; codes are 0 "
            f"to {MAX_WORDS - 1} at most: check the file"
        )


def _text(file: h5py.File, url: bytes) -> str:
    if len(url) > MAX_URL_BYTES:
        raise UserError(
            f"{file.filename} has a URL of {len(url)} bytes; at most {MAX_URL_BYTES} are allowed: "
            "check the file"
        )
    return bytes(url).decode(errors="replace")


def _spans(dataset: h5py.Dataset) -> Iterator[tuple[int, int]]:
    """Ranges of rows that make up whole chunks, of a few MB each."""
    item = 1024 if dataset.dtype.kind == "O" else dataset.dtype.itemsize
    step = max(1, _PIECE_BYTES // (item * int(np.prod(dataset.shape[1:]))))
    if dataset.chunks:
        step = max(1, step // dataset.chunks[0]) * dataset.chunks[0]
    edges = range(step, len(dataset), step)
    yield from zip([0, *edges], [*edges, len(dataset)], strict=True)


def _pieces(dataset: h5py.Dataset) -> Iterator[np.ndarray]:
    for start, stop in _spans(dataset):
        yield dataset[start:stop]


def _limit_memory() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):  # Not on every system.
        import resource

        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY, hard))


if __name__ == "__main__":
    _limit_memory()
    with contextlib.suppress(BrokenPipeError):  # Whoever listened has heard enough.
        main(Path(sys.argv[1]), sys.argv[2], sys.stdout.buffer)
