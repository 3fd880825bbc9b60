"""A run in a bucket: trained in a working copy on this machine, uploaded behind the training.

The copy is made from the bucket at each start and thrown away at the end, so nothing but the
bucket is needed to go on elsewhere. A checkpoint's manifest is uploaded after its other files and
removed before them: a step with a manifest is whole, one without is not looked at.
"""

from __future__ import annotations

import contextlib
import re
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from input_pipeline.errors import UserError
from t2igan.runtime import paths
from t2igan.runtime.buckets import client, transfer
from t2igan.workdir import bucket_lock
from t2igan.workdir.bucket_lock import BucketLock

PUSH_SECONDS = 15.0  # what a kill can lose of metrics.jsonl and sample grids
_POLL_SECONDS = 1.0
_OUTAGE_SECONDS = 900.0  # a bucket that is gone for longer ends the training
_STEP = re.compile(r"(checkpoints/[^/]+)/(.*)")
_MANIFEST = "MANIFEST.json"
_UNFINISHED = ".orbax-checkpoint-tmp"

_mirrors: dict[Path, Mirror] = {}


def mirror_of(workdir: Path) -> Mirror | None:
    """Returns what keeps a working copy and its bucket equal; None for a folder that is none."""
    return _mirrors.get(Path(workdir))


@contextlib.contextmanager
def working_copy(workdir: str | Path) -> Iterator[Path]:
    """Yields the folder of a run: itself, or a working copy where it is in a bucket.

    What the block leaves in the copy is uploaded where it has claimed the run.

    Args:
      workdir: folder or URL of the run; nothing needs to be there yet.

    Raises:
      UserError: the bucket is not there, may not be read, or cannot be reached.
    """
    if not paths.is_url(workdir):
        yield Path(workdir)
        return
    url = str(workdir).rstrip("/")
    with paths.scratch_folder(kept=lambda: mirror.unsaved) as scratch:
        mirror = Mirror(url, scratch / url.rpartition("/")[2])
        _mirrors[mirror.folder] = mirror
        try:
            mirror.download()
            with paths.named(mirror.folder, url):
                yield mirror.folder
                mirror.push_rest()
        finally:
            del _mirrors[mirror.folder]
            if mirror.unsaved:
                print(f"what {url} lacks is kept in {mirror.folder}", file=sys.stderr)


class Mirror:
    """Keeps a bucket equal to a working copy.

    Attributes:
      url: of the run.
      folder: its working copy.
      unsaved: whether the bucket lacks something that the copy has, after a failure.
    """

    def __init__(self, url: str, folder: Path) -> None:
        """Nothing is read or written yet."""
        self.url, self.folder = url, folder
        self.unsaved = False
        self._lock = BucketLock(url)
        self._known: dict[str, tuple[int, int]] = {}  # what the bucket has, as in `snapshot`
        self._there: dict[str, tuple[int, str]] = {}  # as listed when the copy was made
        self._other_files: list[str] = []
        self._claimed = False
        self._pushing = threading.Lock()
        self._end = threading.Event()
        self._failure: UserError | None = None

    def download(self) -> list[str]:
        """Makes the copy what the bucket has; returns the files there that belong to no whole step.

        Raises:
          UserError: see `transfer.list_files`.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        for _ in range(5):
            there = transfer.list_files(self.url)
            there.pop(bucket_lock.NAME, None)
            if there and there == self._there:
                return self._other_files
            if not there:
                client.require_bucket(self.url)
            whole = _whole_steps(there)
            wanted = {name: size for name, (size, _) in there.items() if _is_wanted(name, whole)}
            for name in self._known:
                if there.get(name) != self._there.get(name):
                    (self.folder / name).unlink(missing_ok=True)
            here = _snapshot(self.folder)
            try:
                transfer.download(
                    self.url, {n: s for n, s in wanted.items() if n not in here}, self.folder
                )
            except FileNotFoundError:  # a trainer is at work and has deleted a checkpoint
                continue
            self._known = {n: s for n, s in _snapshot(self.folder).items() if n in wanted}
            self._there = there
            self._other_files = [name for name in there if name not in wanted]
            return self._other_files
        raise UserError(f"{self.url} changes while it is read; run this again")

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Holds the run for the block and uploads behind it; all is in the bucket at its end.

        Raises:
          UserError: another process trains it, or the bucket cannot be written.
        """
        with self._lock.held():
            # Somebody may have gone on with the run since the copy was made.
            transfer.remove(self.url, self.download())
            self._claimed = True
            with client.patience(_OUTAGE_SECONDS):
                thread = threading.Thread(target=self._work, daemon=True)
                thread.start()
                try:
                    yield
                finally:
                    self._end.set()
                    thread.join()
                    if not self._lock.lost:
                        self.push()

    def push(self) -> None:
        """Uploads what has changed, and removes what the copy no longer has.

        Raises:
          UserError: somebody else has taken the run, or the bucket cannot be written.
        """
        with self._pushing:
            if self._failure:
                raise self._failure
            if not self._lock.is_mine():
                raise UserError(f"{self.url} was taken over by another process: stopped")
            self._push()

    def push_rest(self) -> None:
        """Uploads what came after `claimed`, where this process had claimed the run."""
        if self._claimed:
            with self._pushing:
                self._push()

    def fetch(self, folder: Path) -> None:
        """Downloads a folder of the run that this process's copy lacks."""
        name = folder.relative_to(self.folder).as_posix()
        there = transfer.list_files(transfer.join(self.url, name))
        transfer.download(
            transfer.join(self.url, name), {n: size for n, (size, _) in there.items()}, folder
        )

    def _push(self) -> None:
        self.unsaved = True
        for _ in range(100):
            now = _snapshot(self.folder)
            changed = [name for name, state in now.items() if self._known.get(name) != state]
            try:
                transfer.upload(self.folder, changed, self.url)
            except FileNotFoundError:  # a checkpoint was deleted meanwhile
                continue
            gone = [name for name in self._known if name not in now]
            transfer.remove(self.url, gone)
            self._known = now
            self.unsaved = False
            return

    def _work(self) -> None:
        last = time.monotonic()
        while not self._end.wait(_POLL_SECONDS):
            new = set(_snapshot(self.folder)) - set(self._known)
            if any(n.endswith(_MANIFEST) for n in new) or time.monotonic() - last > PUSH_SECONDS:
                try:
                    self.push()
                except UserError as error:
                    self._failure = error
                    print(f"{error}", file=sys.stderr)
                    return
                last = time.monotonic()


def _snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """As `transfer.snapshot`, without checkpoints that are being written."""
    found = transfer.snapshot(folder)
    whole = _whole_steps(found)
    return {n: state for n, state in found.items() if _UNFINISHED not in n and _is_wanted(n, whole)}


def _whole_steps(names: Iterable[str]) -> set[str]:
    steps = set()
    for name in names:
        match = _STEP.fullmatch(name)
        if match and match[2] == _MANIFEST:
            steps.add(match[1])
    return steps


def _is_wanted(name: str, whole: set[str]) -> bool:
    match = _STEP.fullmatch(name)
    return match is None or match[1] in whole
