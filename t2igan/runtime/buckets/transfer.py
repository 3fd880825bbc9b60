"""Files below a URL: listed, read, written, removed, uploaded and downloaded, several at once."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from input_pipeline.dataset.folder import REPORT
from input_pipeline.errors import UserError
from t2igan.runtime.buckets import client

_AT_ONCE = 16  # transfers
# Names that say that a folder is whole: uploaded after, and removed before the other files.
SEALS = (REPORT, "MANIFEST.json", "manifest.json", "manifest.jsonl")


def join(url: str, name: str) -> str:
    """Returns the URL of what is called `name` below `url`."""
    return f"{url.rstrip('/')}/{name}" if name else url


def list_files(url: str) -> dict[str, tuple[int, str]]:
    """Returns {name below the URL: (bytes, what changes with the content)}; {} for nothing there.

    A URL of one file gives {"": ...}.

    Raises:
      UserError: the bucket is not there, may not be read, or cannot be reached.
    """
    system, root = client.open_url(url)

    def list_() -> dict[str, tuple[int, str]]:
        try:
            found = system.find(root, detail=True)
        except FileNotFoundError:
            return {}
        return {
            name.removeprefix(root).lstrip("/"): (int(info["size"]), _version(info))
            for name, info in found.items()
            if info["type"] == "file" and not name.endswith("/")
        }

    return client.retried(url, list_)


def read_bytes(url: str) -> bytes | None:
    """Returns an object's bytes, None where there is none; raises as `list_files`."""
    system, root = client.open_url(url)

    def read() -> bytes | None:
        try:
            return bytes(system.cat_file(root))
        except FileNotFoundError:
            return None

    return client.retried(url, read)


def write_bytes(url: str, data: bytes, *, new: bool = False) -> bool:
    """Writes an object whole; returns False where `new` was asked and there is one already.

    Raises:
      UserError: the bucket is not there, may not be written, or cannot be reached.
    """
    system, root = client.open_url(url)

    def write() -> bool:
        try:
            system.pipe_file(root, data, mode="create" if new else "overwrite")
        except FileExistsError:
            return False
        except FileNotFoundError as error:
            raise client.no_bucket(url) from error
        return True

    return client.retried(url, write)


def remove(url: str, names: Collection[str]) -> None:
    """Removes files below a URL, those that say that a folder is whole first."""
    system, root = client.open_url(url)

    def one(name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            system.rm_file(join(root, name))

    seals = [name for name in names if name.rpartition("/")[2] in SEALS]
    for group in (seals, sorted(set(names) - set(seals))):
        _each(group, lambda name: client.retried(join(url, name), lambda: one(name)))


def upload(folder: Path, names: Collection[str], url: str) -> None:
    """Uploads files of a folder, those that say that it is whole last.

    Raises:
      UserError: see `write_bytes`.
      FileNotFoundError: a file has gone meanwhile.
    """
    system, root = client.open_url(url)

    def one(name: str) -> None:
        local = folder / name if name else folder
        if not local.exists():
            raise FileNotFoundError(local)
        client.retried(join(url, name), lambda: system.put_file(str(local), join(root, name)))

    seals = [name for name in names if name.rpartition("/")[2] in SEALS]
    _each(sorted(set(names) - set(seals)), one)
    _each(seals, one)


def download(url: str, sizes: Mapping[str, int], folder: Path) -> None:
    """Downloads files below a URL, each whole or not at all; says how far it is.

    Args:
      url: of the folder.
      sizes: {name: bytes} of what to download.
      folder: that gets them under the same names.

    Raises:
      UserError: the disk is full, or see `list_files`.
      FileNotFoundError: a file has gone meanwhile.
    """
    system, root = client.open_url(url)
    total = sum(sizes.values())
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if total > free:
        raise UserError(
            f"{url} has {total / 1e9:.1f} GB, and {folder} has room for {free / 1e9:.1f}: set "
            "XDG_CACHE_HOME to a folder on a larger disk"
        )
    bar = tqdm(
        total=total, unit="B", unit_scale=True, desc=url, disable=None if total < 50e6 else False
    )

    def one(name: str) -> None:
        path = folder / name if name else folder / root.rpartition("/")[2]
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")

        def get() -> None:
            system.get_file(join(root, name), str(part))
            if part.stat().st_size != sizes[name]:
                raise ConnectionError(f"{part.stat().st_size} of {sizes[name]} bytes came")

        try:
            client.retried(join(url, name), get)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
        bar.update(sizes[name])

    with bar:
        _each(list(sizes), one)


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Returns {name: (bytes, time of the last change)} of all whole files below a folder.

    Files and folders may come and go meanwhile, as checkpoints do.
    """
    found = {}
    for parent, _, names in os.walk(folder):  # passes over folders that have gone; rglob does not
        for name in names:
            path = Path(parent, name)
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                if path.is_file() and not name.endswith(".part"):
                    key = path.relative_to(folder).as_posix()
                    found[key] = (status.st_size, status.st_mtime_ns)
    return found


def _version(info: Mapping[str, Any]) -> str:
    names = ("md5Hash", "crc32c", "ETag", "etag", "generation")
    return str(next((info[name] for name in names if info.get(name)), ""))


def _each(names: Sequence[str], act: Callable[[str], None]) -> None:
    """Does it for each name, some at once; the first failure is raised once the others ended."""
    if len(names) < 2:
        for name in names:
            act(name)
        return
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        futures = [pool.submit(act, name) for name in names]
        try:
            for future in concurrent.futures.as_completed(futures):
                future.result()
        finally:
            for future in futures:
                future.cancel()
