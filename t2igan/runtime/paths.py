"""Paths that may be URLs of a bucket, gs:// and s3://: told apart, staged, uploaded.

What is read is staged once on a disk of this machine, under ~/.cache/t2igan/buckets or
XDG_CACHE_HOME; what is written is written to disk and uploaded. A bucket has no rename and no
lock, and reading one record of a shard there takes a request; a copy has the speed of the disk.
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from input_pipeline.dataset.folder import CHECKSUMS, REJECTED, REPORT
from input_pipeline.errors import UserError
from input_pipeline.file_lock import locked
from input_pipeline.files import sha256, write_text
from t2igan.runtime.buckets import client, transfer

_URL = re.compile(r"([a-zA-Z][a-zA-Z0-9+.\-]*)://")
TRAINING_ONLY = r"checkpoints/[^/]+/state/"  # arrays of a run that sampling does not read
_SCRATCH = "t2igan-bucket-"
# Copies on this machine and what they are copies of, for messages.
_copies: dict[str, str] = {}


def is_url(path: str | os.PathLike[str]) -> bool:
    """Returns whether a path is in a bucket."""
    scheme = _URL.match(os.fspath(path))
    return scheme is not None and scheme[1].lower() in client.MODULES


def shown(text: str) -> str:
    """Returns a text with copies on this machine called by their URLs."""
    for copy, url in _copies.items():
        text = text.replace(copy, url)
    return text


@contextlib.contextmanager
def named(copy: Path, url: str) -> Iterator[None]:
    """Within the block `shown` calls a folder of this machine by a URL."""
    _copies[str(copy)] = url
    try:
        yield
    finally:
        _copies.pop(str(copy), None)


def local(path: str | os.PathLike[str], *, skip: str = "") -> Path:
    """Returns a path on this machine: the path itself, or a copy of what is at a URL.

    The copy is made once, and brought up to date where the bucket has changed. A data set's files
    are compared with its SHA256SUMS as they arrive.

    Args:
      path: of a file or a folder; a URL may have a pattern (*, {000..099}) after its last folder.
      skip: regular expression of names below the URL that are not needed.

    Raises:
      UserError: nothing is there, the bucket cannot be read, or a file is damaged.
    """
    text = os.fspath(path)
    if not is_url(text):
        return Path(text)
    url, pattern = _without_pattern(text)
    folder = _cache_folder() / hashlib.sha256(f"{url} {skip}".encode()).hexdigest()[:16]
    copy = folder / (url.rstrip("/").rpartition("/")[2] or "bucket")
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "lock"):
        for attempt in range(5):
            found = _wanted(transfer.list_files(url), skip, pattern)
            if not found:
                client.require_bucket(url)
                raise UserError(f"{text}: there is nothing")
            try:
                _bring_up_to_date(url, found, folder, copy, complete=not pattern)
                break
            except FileNotFoundError:  # e.g. a training run has deleted a checkpoint meanwhile
                if attempt == 4:
                    raise UserError(f"{url} changes while it is read; run this again") from None
    _copies[str(copy)] = url
    return copy / pattern if pattern else copy


def listing(url: str) -> tuple[str, list[str], str]:
    """Returns the folder that a URL names, the names of its files, and the pattern after it.

    Args:
      url: of a file (whose name below itself is ""), a folder, or a folder with a pattern.

    Raises:
      UserError: nothing is there, or the bucket cannot be read.
    """
    folder, pattern = _without_pattern(url)
    found = _wanted(transfer.list_files(folder), "", pattern)
    if not found:
        client.require_bucket(folder)
        raise UserError(f"{url}: there is nothing")
    return folder, sorted(found), pattern


def join(folder: str, name: str) -> str:
    """Returns the path of a file in a folder, or the URL of one below a URL."""
    return f"{folder.rstrip('/')}/{name}"


def read_bytes(path: str) -> bytes | None:
    """Returns what is in a small file, also at a URL; None where there is none.

    Raises:
      UserError: the bucket cannot be read.
    """
    if is_url(path):
        return transfer.read_bytes(path)
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        return None


def write_bytes(path: str, data: bytes) -> None:
    """Writes a small file whole, also at a URL; its folder is made.

    Raises:
      UserError: the bucket cannot be written.
    """
    if is_url(path):
        transfer.write_bytes(path, data)
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    partial = path + ".partial"
    Path(partial).write_bytes(data)
    os.replace(partial, path)


def remove(path: str) -> None:
    """Removes a file, also at a URL, where there is one."""
    if is_url(path):
        folder, _, name = path.rpartition("/")
        transfer.remove(folder, [name])
    else:
        Path(path).unlink(missing_ok=True)


@contextlib.contextmanager
def changes_uploaded(copy: Path, url: str) -> Iterator[None]:
    """Uploads the files of a folder that the block has made or changed.

    Raises:
      UserError: see `buckets.transfer`.
    """
    before = transfer.snapshot(copy)
    yield
    now = transfer.snapshot(copy)
    transfer.upload(copy, [name for name, state in now.items() if before.get(name) != state], url)


def refuse_taken(url: str, overwrite: bool) -> None:
    """Refuses to make a data set where there is something; see `dataset.folder.building`.

    Args:
      url: of the data set.
      overwrite: whether a data set may lie there; nothing else may.

    Raises:
      UserError: there is.
    """
    there = transfer.list_files(url)
    if REPORT in there and not overwrite:
        raise UserError(
            f"--out={url} exists already: choose another --out, or add --overwrite to replace it"
        )
    if there and REPORT not in there:
        raise UserError(
            f"--out={url} exists and is not a data set made by prepare: choose another --out"
        )


@contextlib.contextmanager
def output(
    path: str | os.PathLike[str], *, update: bool = False, replace: bool = False
) -> Iterator[Path]:
    """Yields where to write what is to lie at a path; uploads it where that is a URL.

    Nothing is uploaded where the block fails. What else lies at the URL stays.

    Args:
      path: of a file or a folder.
      update: the block gets what is there already; what it removes is removed there too.
      replace: what is there is removed once the new folder is uploaded; see `refuse_taken`.

    Raises:
      UserError: the bucket is not there, may not be written, or cannot be reached.
    """
    text = os.fspath(path)
    if not is_url(text):
        yield Path(text)
        return
    url = text.rstrip("/")
    there = transfer.list_files(url)
    if not there:
        client.require_bucket(url)
    with scratch_folder() as scratch:
        target = scratch / url.rpartition("/")[2]
        _copies[str(target)] = url
        if update and there:
            transfer.download(
                url, {name: size for name, (size, _) in there.items()}, _into(target, there)
            )
        try:
            yield target
        except UserError:
            rejected = target.with_name(f"{target.name}.{REJECTED}")  # says why a data set failed
            if rejected.is_file():
                transfer.upload(rejected, [""], f"{url}.{REJECTED}")
            raise
        if target.is_dir():
            names = transfer.snapshot(target)
            with contextlib.suppress(FileNotFoundError):
                transfer.remove(
                    url, [n for n in there if n.rpartition("/")[2] in transfer.SEALS and n in names]
                )
            transfer.upload(target, list(names), url)
            if update or replace:
                transfer.remove(url, [name for name in there if name and name not in names])
        elif target.exists():
            transfer.upload(target, [""], url)


@contextlib.contextmanager
def scratch_folder(kept: Callable[[], bool] = lambda: False) -> Iterator[Path]:
    """Yields a new temporary folder (`TMPDIR` says where), removed at the block's end.

    What kills have left of earlier ones is removed too.

    Args:
      kept: asked at the end: whether the folder stays.
    """
    for lock in Path(tempfile.gettempdir()).glob(f"{_SCRATCH}*/lock"):
        with contextlib.suppress(OSError), locked(lock, wait=False):
            shutil.rmtree(lock.parent, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=_SCRATCH))
    with locked(folder / "lock"):
        try:
            yield folder
        finally:
            if not kept():
                shutil.rmtree(folder, ignore_errors=True)
    if kept():
        (folder / "lock").unlink()


def _into(target: Path, there: Mapping[str, Any]) -> Path:
    return target.parent if "" in there else target


def _cache_folder() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "t2igan" / "buckets"


def _without_pattern(url: str) -> tuple[str, str]:
    special = re.search(r"[*?\[{]", url)
    if not special:
        return url, ""
    folder = url[: special.start()].rpartition("/")[0]
    return folder, url[len(folder) + 1 :]


def _wanted(
    there: Mapping[str, tuple[int, str]], skip: str, pattern: str
) -> dict[str, tuple[int, str]]:
    from input_pipeline.readers.shard_files import expand

    found = {name: entry for name, entry in there.items() if not skip or not re.search(skip, name)}
    if not pattern:
        return found
    patterns = expand(pattern)
    plain = set(patterns)
    wild = [each for each in patterns if re.search(r"[*?\[]", each)]
    return {
        name: entry
        for name, entry in found.items()
        if name in plain or any(fnmatch.fnmatchcase(name, each) for each in wild)
    }


def _bring_up_to_date(
    url: str,
    found: Mapping[str, tuple[int, str]],
    folder: Path,
    copy: Path,
    *,
    complete: bool,
) -> None:
    record = folder / "listing.json"
    old = _read_listing(record)
    is_file = "" in found
    place = copy.parent if is_file else copy
    here = {name for name in old if (copy if is_file else copy / name).is_file()}
    new = {n: entry[0] for n, entry in found.items() if n not in here or old[n] != list(entry)}
    if complete:
        for name in set(old) - set(found):
            (copy / name).unlink(missing_ok=True)
    if new:
        # A kill while files arrive leaves a record of those that had come before.
        kept = {name: entry for name, entry in old.items() if name in found and name not in new}
        write_text(record, json.dumps(kept))
        transfer.download(url, new, place)
        _check_sums(url, copy, new)
    write_text(record, json.dumps({**({} if complete else old), **found}))


def _read_listing(path: Path) -> dict[str, list[Any]]:
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _check_sums(url: str, copy: Path, names: Collection[str]) -> None:
    """Compares what has arrived with a data set's SHA256SUMS."""
    if not (copy / CHECKSUMS).is_file():
        return
    for line in (copy / CHECKSUMS).read_text(errors="replace").splitlines():
        digest, _, name = line.partition("  ")
        if name in names and sha256(copy / name) != digest:
            (copy / name).unlink()
            raise UserError(f"{transfer.join(url, name)} is damaged: it differs from {CHECKSUMS}")
