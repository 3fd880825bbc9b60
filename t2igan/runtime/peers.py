"""Watches the other processes of a run, so that none waits for one that has died.

A collective operation waits for everybody, and JAX's own watch ends a process after minutes with
a stack of C++ frames. Here each process keeps changing a key at the coordinator; where one does
not change any more, or the coordinator is gone, the process says so in one line and ends.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Any, NoReturn

import jax

BEAT_SECONDS = 3.0
DEAD_SECONDS = 20.0  # a process that is paused for so long counts as dead
_KEY = "t2igan/alive/"
STATUS = 1


def watch() -> None:
    """Starts watching; does nothing where this process is alone.

    Where another process ends, this one ends with status 1: what it had not saved is lost, and the
    same command goes on from the newest checkpoint.
    """
    from jax._src import distributed  # no public way leads to the coordinator's keys

    client = distributed.global_state.client
    if jax.process_count() > 1 and client is not None:
        threading.Thread(target=_Watch(client).run, daemon=True).start()


class _Watch:
    def __init__(self, client: Any) -> None:
        self._client = client
        self._others = [i for i in range(jax.process_count()) if i != jax.process_index()]
        self._last: dict[int, tuple[str, float]] = {}
        self._answered = time.monotonic()

    def run(self) -> None:
        beat = 0
        while True:
            beat += 1
            try:
                self._client.key_value_set(
                    f"{_KEY}{jax.process_index()}", str(beat), allow_overwrite=True
                )
                self._answered = time.monotonic()
                self._look()
            except Exception as error:  # the client raises what its RPC layer likes
                if "NOT_FOUND" not in str(error):
                    self._no_coordinator()
            time.sleep(BEAT_SECONDS)

    def _look(self) -> None:
        now = time.monotonic()
        for index in self._others:
            try:
                beat = str(self._client.key_value_try_get(f"{_KEY}{index}"))
            except Exception as error:
                if "NOT_FOUND" not in str(error):
                    raise
                beat = ""  # it has yet to begin
            if self._last.get(index, ("", 0.0))[0] != beat or not beat:
                self._last[index] = beat, now
            elif now - self._last[index][1] > DEAD_SECONDS:
                end(f"process {index} of {jax.process_count()} has died")

    def _no_coordinator(self) -> None:
        if time.monotonic() - self._answered > DEAD_SECONDS:
            end(f"process 0 of {jax.process_count()} has died")


def end(why: str) -> NoReturn:
    """Says why in one line and ends the process: what Python waits for at its end is dead."""
    print(
        f"t2igan: error: {why}; this one ends too: the same command on all hosts goes on from the "
        "newest checkpoint",
        file=sys.stderr,
        flush=True,
    )
    os._exit(STATUS)
