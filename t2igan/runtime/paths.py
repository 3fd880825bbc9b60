"""Paths that may be URLs of a bucket, gs:// and s3://: told apart, staged, uploaded.

The only module that talks to buckets, through fsspec (extras `gcs` and `s3`). What is read is
staged once on a disk of this machine, under ~/.cache/t2igan/buckets or XDG_CACHE_HOME; what is
written is written to disk and uploaded. A bucket has no rename and no lock, and reading one
record of a shard there takes a request; a copy has the speed of the disk.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import fnmatch
import hashlib
import importlib
import json
import logging
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from input_pipeline.dataset.folder import CHECKSUMS, REJECTED, REPORT
from input_pipeline.errors import UserError
from input_pipeline.file_lock import locked
from input_pipeline.files import sha256, write_text

_URL = re.compile(r"([a-zA-Z][a-zA-Z0-9+.\-]*)://")
_MODULES = {"gs": ("gcsfs", "gcs"), "s3": ("s3fs", "s3")}  # of a scheme: its module and extra
TRAINING_ONLY = r"checkpoints/[^/]+/state/"  # arrays of a run that sampling does not read
_SCRATCH = "t2igan-bucket-"
_AT_ONCE = 16  # transfers
_HICCUP_SECONDS = 2.0  # an outage that is over by then is not worth a line
_FIRST_SECONDS = 20.0  # a bucket is waited for before a command gives up
# Names that say that a folder is whole: uploaded after, and removed before the other files.
_SEALS = (REPORT, "MANIFEST.json", "manifest.json", "manifest.jsonl")
_REFUSED = ("NoCredentialsError", "DefaultCredentialsError", "RefreshError", "ParamValidationError")
_T = TypeVar("_T")
# Copies on this machine and what they are copies of, for messages.
_copies: dict[str, str] = {}


def is_url(path: str | os.PathLike[str]) -> bool:
    """Returns whether a path is in a bucket."""
    scheme = _URL.match(os.fspath(path))
    return scheme is not None and scheme[1].lower() in _MODULES


def join(url: str, name: str) -> str:
    """Returns the URL of what is called `name` below `url`."""
    return f"{url.rstrip('/')}/{name}" if name else url


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


def list_files(url: str) -> dict[str, tuple[int, str]]:
    """Returns {name below the URL: (bytes, what changes with the content)}; {} for nothing there.

    A URL of one file gives {"": ...}.

    Raises:
      UserError: the bucket is not there, may not be read, or cannot be reached.
    """
    system, root = _open(url)

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

    return retried(url, list_)


def read_bytes(url: str) -> bytes | None:
    """Returns an object's bytes, None where there is none; raises as `list_files`."""
    system, root = _open(url)

    def read() -> bytes | None:
        try:
            return bytes(system.cat_file(root))
        except FileNotFoundError:
            return None

    return retried(url, read)


def write_bytes(url: str, data: bytes, *, new: bool = False) -> bool:
    """Writes an object whole; returns False where `new` was asked and there is one already.

    Raises:
      UserError: the bucket is not there, may not be written, or cannot be reached.
    """
    system, root = _open(url)

    def write() -> bool:
        try:
            system.pipe_file(root, data, mode="create" if new else "overwrite")
        except FileExistsError:
            return False
        except FileNotFoundError as error:
            raise _no_bucket(url) from error
        return True

    return retried(url, write)


def remove(url: str, names: Collection[str]) -> None:
    """Removes files below a URL, those that say that a folder is whole first."""
    system, root = _open(url)

    def one(name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            system.rm_file(join(root, name))

    seals = [name for name in names if name.rpartition("/")[2] in _SEALS]
    for group in (seals, sorted(set(names) - set(seals))):
        _each(group, lambda name: retried(join(url, name), lambda: one(name)))


def upload(folder: Path, names: Collection[str], url: str) -> None:
    """Uploads files of a folder, those that say that it is whole last.

    Raises:
      UserError: see `write_bytes`.
      FileNotFoundError: a file has gone meanwhile.
    """
    system, root = _open(url)

    def one(name: str) -> None:
        local = folder / name if name else folder
        if not local.exists():
            raise FileNotFoundError(local)
        retried(join(url, name), lambda: system.put_file(str(local), join(root, name)))

    seals = [name for name in names if name.rpartition("/")[2] in _SEALS]
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
    system, root = _open(url)
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
            retried(join(url, name), get)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
        bar.update(sizes[name])

    with bar:
        _each(list(sizes), one)


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
            found = _wanted(list_files(url), skip, pattern)
            if not found:
                require_bucket(url)
                raise UserError(f"{text}: there is nothing")
            try:
                _bring_up_to_date(url, found, folder, copy, complete=not pattern)
                break
            except FileNotFoundError:  # e.g. a training run has deleted a checkpoint meanwhile
                if attempt == 4:
                    raise UserError(f"{url} changes while it is read; run this again") from None
    _copies[str(copy)] = url
    return copy / pattern if pattern else copy


@contextlib.contextmanager
def changes_uploaded(copy: Path, url: str) -> Iterator[None]:
    """Uploads the files of a folder that the block has made or changed.

    Raises:
      UserError: see `write_bytes`.
    """
    before = snapshot(copy)
    yield
    now = snapshot(copy)
    upload(copy, [name for name, state in now.items() if before.get(name) != state], url)


def refuse_taken(url: str, overwrite: bool) -> None:
    """Refuses to make a data set where there is something; see `dataset.folder.building`.

    Args:
      url: of the data set.
      overwrite: whether a data set may lie there; nothing else may.

    Raises:
      UserError: there is.
    """
    there = list_files(url)
    if REPORT in there and not overwrite:
        raise UserError(
            f"--out={url} exists already: choose another --out, or add --overwrite to replace it"
        )
    if there and REPORT not in there:
        raise UserError(
            f"--out={url} exists and is not a data set made by prepare: choose another --out"
        )


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
    there = list_files(url)
    if not there:
        require_bucket(url)
    with scratch_folder() as scratch:
        target = scratch / url.rpartition("/")[2]
        _copies[str(target)] = url
        if update and there:
            download(url, {name: size for name, (size, _) in there.items()}, _into(target, there))
        try:
            yield target
        except UserError:
            rejected = target.with_name(f"{target.name}.{REJECTED}")  # says why a data set failed
            if rejected.is_file():
                upload(rejected, [""], f"{url}.{REJECTED}")
            raise
        if target.is_dir():
            names = snapshot(target)
            with contextlib.suppress(FileNotFoundError):
                remove(url, [n for n in there if n.rpartition("/")[2] in _SEALS and n in names])
            upload(target, list(names), url)
            if update or replace:
                remove(url, [name for name in there if name and name not in names])
        elif target.exists():
            upload(target, [""], url)


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


def retried(url: str, act: Callable[[], _T], seconds: float | None = None) -> _T:
    """Returns what `act` returns, tried again while the bucket cannot be reached.

    Args:
      url: for the message.
      act: may be called several times.
      seconds: how long it is tried; by default as long as `patience` says.

    Raises:
      UserError: it may not be done, or not within that time.
      FileNotFoundError, FileExistsError: as `act` raised them.
    """
    limit = _patience[-1] if seconds is None else seconds
    start, pause = time.monotonic(), 0.5
    while True:
        try:
            result = act()
        except (FileNotFoundError, FileExistsError):
            raise
        except Exception as error:
            if not _may_pass(error):
                raise _refused(url, error) from error
            if time.monotonic() - start > limit:
                raise UserError(
                    f"{url} cannot be reached: {_first_line(error)}; is the network there?"
                ) from error
            _outage.goes_on(_first_line(error))
            time.sleep(pause)
            pause = min(2 * pause, 10.0)
        else:
            _outage.ended()
            return result


class _Outage(logging.Handler):
    """Says that a bucket cannot be reached, and when it is again.

    The libraries try some times themselves, and log that.
    """

    def __init__(self) -> None:
        super().__init__()
        self._since: float | None = None
        self._said = False

    def emit(self, record: logging.LogRecord) -> None:
        """Looks for what gcsfs and s3fs log before they try again."""
        before, _, error = record.getMessage().partition(": ")
        if before.endswith("retrying after exception") or before == "Retryable error":
            self.goes_on(error.split("\n")[0][:200])

    def goes_on(self, why: str) -> None:
        """Says it, once an outage has lasted for some seconds."""
        now = time.monotonic()
        self._since = self._since or now
        if not self._said and now - self._since > _HICCUP_SECONDS:
            self._said = True
            print(f"the bucket cannot be reached ({why}): trying again", file=sys.stderr)

    def ended(self) -> None:
        """Says it where the beginning was said."""
        if self._said:
            print("the bucket is reached again", file=sys.stderr)
        self._since, self._said = None, False


_outage = _Outage()
_patience = [_FIRST_SECONDS]


@contextlib.contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Within the block a bucket that cannot be reached is waited for so long, in all threads."""
    _patience.append(seconds)
    try:
        yield
    finally:
        _patience.pop()


def require_bucket(url: str) -> None:
    """Makes sure that there is a bucket that can be listed.

    Raises:
      UserError: in one line, if not.
    """
    system, root = _open(url)
    bucket = root.partition("/")[0]

    def look() -> None:
        try:
            system.ls(bucket)
        except FileNotFoundError as error:
            raise _no_bucket(url) from error

    retried(url, look)


def _no_bucket(url: str) -> UserError:
    bucket = "/".join(url.split("/")[:3])
    return UserError(f"{url}: there is no bucket {bucket}; make it first")


def _refused(url: str, error: Exception) -> UserError:
    if isinstance(error, UserError):
        return error
    kind, code = type(error).__name__, getattr(error, "code", None)
    if kind in _REFUSED or code == 401 or "nonymous caller" in str(error):
        how = (
            "`gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS"
            if url.startswith("gs:")
            else "`aws configure`, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
        return UserError(f"{url}: no credentials for it are here: {how}")
    return UserError(f"{url} is refused: {_first_line(error)}")


def _may_pass(error: Exception) -> bool:
    """Whether a failure may be gone a minute later."""
    if isinstance(error, UserError | PermissionError) or type(error).__name__ in _REFUSED:
        return False
    code = getattr(error, "code", None) or getattr(error, "status", None)
    if isinstance(code, int | str) and str(code).isdigit():
        return int(code) >= 500 or int(code) in (408, 429)
    module = type(error).__module__.partition(".")[0]
    return isinstance(error, OSError | TimeoutError) or module in ("aiohttp", "botocore")


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().split("\n")[0][:200]


def _version(info: Mapping[str, Any]) -> str:
    names = ("md5Hash", "crc32c", "ETag", "etag", "generation")
    return str(next((info[name] for name in names if info.get(name)), ""))


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
        download(url, new, place)
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
            raise UserError(f"{join(url, name)} is damaged: it differs from {CHECKSUMS}")


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


def _open(url: str) -> tuple[Any, str]:
    """The file system of a URL and the path in it, BUCKET/NAME."""
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    root = rest.rstrip("/")
    if not root or root.startswith("/"):
        raise UserError(f"{url}: give the bucket's name, {scheme}://BUCKET/...")
    module, extra = _MODULES[scheme]
    # Asking by gRPC what kind of bucket it is takes minutes where an emulator stands in.
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"{url}: for {scheme}:// install: pip install 't2igan[{extra}]'") from error
    import fsspec

    # Its own complaints come with tracebacks; what fails reaches the user as one line.
    log = logging.getLogger(module)
    if _outage not in log.handlers:
        log.handlers[:] = [_outage]
        log.setLevel(logging.DEBUG)
        log.propagate = False
    options: dict[str, Any] = {"use_listings_cache": False}
    if scheme == "gs" and os.environ.get("STORAGE_EMULATOR_HOST"):
        options["token"] = "anon"
    return fsspec.filesystem(scheme, **options), root
