"""A lock on a file, which the system lets go however the process that holds it ends."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _acquire(descriptor: int, wait: bool) -> None:
        # LK_LOCK tries for ten seconds; a copy may take longer.
        while True:
            try:
                msvcrt.locking(descriptor, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
            except OSError as error:
                if not wait:
                    raise BlockingIOError(error.errno, error.strerror) from error
            else:
                return

else:
    import fcntl

    def _acquire(descriptor: int, wait: bool) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Holds the lock of a file, which is made where it is missing, for the block.

    Args:
      path: of the file; on POSIX a folder serves too.
      wait: for whoever holds it.

    Raises:
      BlockingIOError: somebody holds it, and that is not to be waited for.
      OSError: the file system has no locks, or the file cannot be made.
    """
    flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
    descriptor = os.open(path, flags, 0o666)
    try:
        _acquire(descriptor, wait)
        yield
    finally:
        os.close(descriptor)
