"""The lock of a run in a bucket: an object that its holder keeps changing.

A bucket has no lock that ends with a process. Whoever finds the object waits to see whether it
changes: clocks of two machines are never compared. On the holder's own machine its process is
looked for instead, so that the run of a killed one goes on at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from input_pipeline.errors import InUse, UserError
from t2igan.runtime.buckets import transfer

NAME = "lock.json"
BEAT_SECONDS = 10.0
_DEAD_SECONDS = 35.0  # without a change: three beats that did not come
_POLL_SECONDS = 1.0


class BucketLock:
    """Holds `URL/lock.json`.

    Attributes:
      lost: whether somebody else has taken it: nothing may be written any more.
    """

    def __init__(self, url: str) -> None:
        """Nothing is read or written yet.

        Args:
          url: of the run.
        """
        self.lost = False
        self._run = url
        self._url = transfer.join(url, NAME)
        self._token = uuid.uuid4().hex
        self._beats = 0
        self._end = threading.Event()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Holds the lock for the block.

        Raises:
          UserError: another process trains the run.
        """
        self._acquire()
        thread = threading.Thread(target=self._beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._end.set()
            thread.join(BEAT_SECONDS)
            with contextlib.suppress(UserError):
                if self.is_mine():
                    transfer.remove(self._run, [NAME])

    def is_mine(self) -> bool:
        """Returns whether the bucket still says so; remembers it where it does not."""
        if not self.lost:
            self.lost = _read(self._url).get("token") != self._token
        return not self.lost

    def _acquire(self) -> None:
        if transfer.write_bytes(self._url, self._record(), new=True):
            return
        holder = _read(self._url)
        if holder and not _is_dead(holder):
            self._wait_for_death(holder)
        transfer.write_bytes(self._url, self._record())
        time.sleep(_POLL_SECONDS)  # two that take it at once: the later one has it
        if not self.is_mine():
            raise self._refusal(_read(self._url))

    def _wait_for_death(self, holder: dict[str, Any]) -> None:
        if _is_here(holder):
            raise self._refusal(holder)  # its process lives
        print(
            f"{self._run} was being trained on {holder.get('host')}: waiting up to "
            f"{_DEAD_SECONDS:.0f} s to see whether it still is",
            file=sys.stderr,
        )
        deadline = time.monotonic() + _DEAD_SECONDS
        while time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
            now = _read(self._url)
            if not now:
                return
            if now != holder:
                raise self._refusal(now)

    def _refusal(self, holder: dict[str, Any]) -> InUse:
        who = f" (process {holder.get('pid')} on {holder.get('host')})" if holder else ""
        return InUse(
            f"{self._run} {InUse.WORDS}{who}; wait for it, stop it, or give another --workdir"
        )

    def _beat(self) -> None:
        while not self._end.wait(BEAT_SECONDS):
            # What fails is tried again at the next beat; whoever writes the run says it.
            with contextlib.suppress(UserError, FileNotFoundError):
                if not self.is_mine():
                    return
                self._beats += 1
                transfer.write_bytes(self._url, self._record())

    def _record(self) -> bytes:
        values = _this_process() | {"token": self._token, "beats": self._beats}
        return json.dumps(values).encode()


def _read(url: str) -> dict[str, Any]:
    try:
        values = json.loads(transfer.read_bytes(url) or b"{}")
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def _this_process() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "machine": _machine(),
        "pid": os.getpid(),
        "started": _start(os.getpid()),
    }


def _machine() -> str:
    """What processes share that see each other; empty where the system does not say it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _start(pid: int) -> str:
    """When a process started, in the system's own units; empty where there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def _is_here(holder: dict[str, Any]) -> bool:
    return bool(_machine()) and holder.get("machine") == _machine()


def _is_dead(holder: dict[str, Any]) -> bool:
    """Whether the holder ran on this machine and does no more."""
    return _is_here(holder) and _start(int(holder.get("pid") or 0)) != holder.get("started")
