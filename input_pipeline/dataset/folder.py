"""A prepared data set on disk: the names in it, and how it comes to be all at once or not at all.

captioned_images-SPLIT.array_record-00000-of-00004    records (`records.py`), read by TFDS too
dataset_info.json  features.json                      TFDS's own
vocabulary.json  word_vectors.npy                     words in code order; float32 [V, D]
report.json  rejected.csv                             what is in it, what is not and why; whose
                                                      sentence embeddings the records have
SHA256SUMS                                            checked by `sha256sum -c SHA256SUMS`
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from input_pipeline.errors import UserError
from input_pipeline.file_lock import locked

VOCABULARY = "vocabulary.json"
WORD_VECTORS = "word_vectors.npy"
REPORT = "report.json"
REJECTED = "rejected.csv"
CHECKSUMS = "SHA256SUMS"

_INCOMPLETE = ".incomplete-"
_LOCK = ".lock"
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}


@contextlib.contextmanager
def building(out: Path, overwrite: bool = False) -> Iterator[Path]:
    """Yields a folder beside `out` to build in, renamed to `out` if the block ends without an
    exception.

    Whatever stops the block, a kill included, there is never a half-built `out`. What earlier
    kills have left beside it is removed. A data set already at `out` stays until the new one is
    complete.

    Args:
      out: the data set to make; its parents are created.
      overwrite: whether a data set may lie at `out` already.

    Raises:
      UserError: `out` is taken, or the disk is full or cannot be written.
    """
    out = out.resolve()
    _refuse_taken(out, overwrite)
    folder = _new_folder(out)
    with _one_line_if_disk_fails(out):
        try:
            with _locked(folder):
                yield folder
            (folder / _LOCK).unlink()
            folder.chmod(0o777 & ~_umask())  # mkdtemp's is for its owner only
            _refuse_taken(out, overwrite)  # somebody else's may have been quicker
            _put_in_place(folder, out)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _new_folder(out: Path) -> Path:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(out)
        return Path(tempfile.mkdtemp(prefix=out.name + _INCOMPLETE, dir=out.parent))
    except OSError as error:
        raise UserError(
            f"--out={out} cannot be made: {error.strerror}; choose a folder that you can write to"
        ) from error


def _refuse_taken(out: Path, overwrite: bool) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / REPORT).is_file():
        raise UserError(
            f"--out={out} exists and is not a data set made by prepare: choose another --out"
        )
    if not overwrite:
        raise UserError(
            f"--out={out} exists already: choose another --out, or add --overwrite to replace it"
        )


def _put_in_place(folder: Path, out: Path) -> None:
    if not (out / REPORT).exists():
        folder.rename(out)
        return
    old = Path(tempfile.mkdtemp(prefix=out.name + _INCOMPLETE, dir=out.parent))
    out.rename(old)
    folder.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def _remove_leftovers(out: Path) -> None:
    for folder in out.parent.glob(_glob_escape(out.name) + _INCOMPLETE + "*"):
        with contextlib.suppress(OSError), _locked(folder):  # held: someone is building there
            shutil.rmtree(folder, ignore_errors=True)


def _glob_escape(name: str) -> str:
    return "".join(f"[{char}]" if char in "*?[" else char for char in name)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Holds the folder's lock, which the system lets go however the process ends."""
    with locked(folder / _LOCK, wait=False):
        yield


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextlib.contextmanager
def _one_line_if_disk_fails(out: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:  # ArrayRecord and sqlite3 raise RuntimeError's kin
        reason = _disk_failure(error)
        if reason is None:
            raise
        raise UserError(f"cannot write {out}: {reason}; nothing was left there") from error


def _disk_failure(error: BaseException) -> str | None:
    if isinstance(error, OSError):
        known = error.errno in _DISK_ERRORS
        return os.strerror(error.errno) if known and error.errno else None
    reasons = map(os.strerror, _DISK_ERRORS)
    return next((reason for reason in reasons if reason in str(error)), None)


def finish(
    folder: Path,
    vocabulary_json: str,
    word_vectors: np.ndarray,
    report: Mapping[str, Any],
    elsewhere: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Returns the report, its `fingerprint` added, after writing all that is not shards into
    `folder`.

    The fingerprint changes when a record, a word or a word vector does.

    Args:
      folder: of the data set.
      vocabulary_json: of `Vocabulary.to_json`.
      word_vectors: float32 [V, D].
      report: what was done.
      elsewhere: {name: SHA-256} of files of the data set that do not lie in `folder`.
    """
    (folder / VOCABULARY).write_text(vocabulary_json, encoding="utf-8")
    np.save(folder / WORD_VECTORS, word_vectors.astype(np.float32), allow_pickle=False)
    (folder / REJECTED).touch()
    sums = dict(sorted((_checksums(folder) | dict(elsewhere or {})).items()))
    text = "".join(f"{digest}  {name}\n" for name, digest in sums.items())
    (folder / CHECKSUMS).write_text(text)
    report = {**report, "fingerprint": dataset_hash(sums)}
    (folder / REPORT).write_text(json.dumps(report, indent=1) + "\n")
    return report


def _checksums(folder: Path) -> dict[str, str]:
    sums = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name != _LOCK:
            with path.open("rb") as file:
                sums[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return sums


def dataset_hash(sums: Mapping[str, str]) -> str:
    """Hash over the records, words and word vectors, from the SHA-256 of each file by its name."""
    content = [
        f"{name} {digest}"
        for name, digest in sums.items()
        if ".array_record-" in name or name in (VOCABULARY, WORD_VECTORS)
    ]
    return hashlib.sha256("\n".join(content).encode()).hexdigest()
