"""Feature rows on disk while an evaluation runs: memory holds only what a metric is reading."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterable
from pathlib import Path

import numpy as np


class RowStore:
    """Tables of rows by name, in a temporary folder that goes with the object.

    Fifty thousand rows of Inception are 0.4 GB an image set; four image sets at once would be
    more than evaluating should ask for.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="t2igan-features-"))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._counts: dict[str, int] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._counts

    def get(self, name: str) -> np.ndarray:
        """Returns [n, dim] rows, mapped from disk, read-only."""
        return np.load(self._path(name), mmap_mode="r", allow_pickle=False)

    def create(self, name: str, count: int, dim: int) -> np.ndarray:
        """Returns an empty float32 [count, dim] table to fill; it exists once `close` is called on
        it.
        """
        shape = (count, dim)
        return np.lib.format.open_memmap(self._path(name), "w+", dtype=np.float32, shape=shape)

    def close(self, name: str, table: np.memmap) -> None:
        """The table is complete."""
        table.flush()
        self._counts[name] = len(table)

    def forget(self, names: Iterable[str]) -> None:
        """Removes tables, where they exist."""
        for name in list(names):
            if self._counts.pop(name, None) is not None:
                self._path(name).unlink()

    def names(self) -> list[str]:
        """Of the tables that are complete."""
        return list(self._counts)

    def _path(self, name: str) -> Path:
        return Path(self._folder, name.replace("/", "-") + ".npy")
