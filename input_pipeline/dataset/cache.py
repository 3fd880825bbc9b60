"""A split that stays decoded in memory, filled as it is read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from input_pipeline.dataset.reader import ShardReader
from input_pipeline.errors import UserError
from input_pipeline.text.sentence_encoders import SENTENCE_DTYPE

Cache = Literal["auto", "memory", "none"]

_CAPTIONS_BYTES = 1024  # of one image, about
_SENTENCES = 6  # of one image, about
_AUTO_SHARE = 4  # `auto` takes a fourth of the free memory at most
_CGROUP = Path("/sys/fs/cgroup")


class InMemory:
    """A split whose records are read from the shards once, and from memory after that.

    There is no wait at the start: the first epoch fills it. May be used by several threads.

    Args:
      source: the split.
    """

    def __init__(self, source: ShardReader) -> None:
        self._source = source
        size = source.image_size
        # The system gives memory to these pages as they are first written.
        self._images = np.empty((len(source), size, size, 3), np.uint8)
        self._captions: list[np.ndarray | None] = [None] * len(source)
        self._sentences: list[np.ndarray | None] = [None] * len(source)
        self._reads_sentences = source.sentence_dim > 0
        self._present = np.zeros(len(source), bool)

    def __len__(self) -> int:
        return len(self._source)

    def __getitems__(self, indices: Sequence[int] | np.ndarray) -> dict[str, Any]:
        """Records at indices: `image` uint8 [n, S, S, 3], a copy; `captions` list of [n_i, L].

        Where the source reads embeddings, `sentences` too: a list of float16 [n_i, E].

        Raises:
          IndexError: one is not in 0 to len - 1.
          UserError: a record is damaged.
        """
        indices = np.asarray(indices, np.int64)
        texts = self.texts(indices)
        return {"image": self._images[indices], **texts}

    def texts(self, indices: Sequence[int] | np.ndarray) -> dict[str, Any]:
        """Returns the same without the images."""
        indices = np.asarray(indices, np.int64)
        absent = indices[~self._present[indices]]
        if len(absent):
            self._fill(absent)
        found: dict[str, Any] = {"captions": [self._captions[index] for index in indices.tolist()]}
        if self._reads_sentences:
            found["sentences"] = [self._sentences[index] for index in indices.tolist()]
        return found

    def _fill(self, indices: np.ndarray) -> None:
        records = self._source.__getitems__(indices)
        self._images[indices] = records["image"]
        for index, captions in zip(indices.tolist(), records["captions"], strict=True):
            self._captions[index] = captions
        for index, sentences in zip(indices.tolist(), records.get("sentences", ()), strict=False):
            self._sentences[index] = sentences.copy()  # else it would hold the record's bytes
        self._present[indices] = True  # last: another thread reads what is marked


def cached(source: ShardReader, cache: Cache) -> ShardReader | InMemory:
    """Returns the source, or the same held in memory.

    Args:
      source: a split.
      cache: "memory", "none", or "auto": in memory where the decoded split takes at most a fourth
        of what is free.

    Raises:
      UserError: "memory" and the split does not fit.
    """
    choices: dict[Cache, Callable[[], bool]] = {
        "none": lambda: False,
        "auto": lambda: _decoded_bytes(source) <= free_memory() // _AUTO_SHARE,
        "memory": lambda: _refuse_too_large(source),
    }
    if cache not in choices:
        raise UserError(f"cache is {cache!r}; {', '.join(choices)} are allowed")
    return InMemory(source) if choices[cache]() else source


def _refuse_too_large(source: ShardReader) -> bool:
    needed, free = _decoded_bytes(source), free_memory()
    if needed > free:
        raise UserError(
            f"cache is 'memory', and the decoded split needs {needed / 2**30:.1f} GiB where "
            f"{free / 2**30:.1f} GiB are free: choose 'none' or 'auto'"
        )
    return True


def _decoded_bytes(source: ShardReader) -> int:
    sentences = _SENTENCES * source.sentence_dim * SENTENCE_DTYPE.itemsize
    return len(source) * (source.image_size**2 * 3 + _CAPTIONS_BYTES + sentences)


def free_memory() -> int:
    """Returns bytes that this process may take without swapping, a container's limit included."""
    free = [2**32]
    with contextlib.suppress(OSError, ValueError):
        fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        free = [int(fields["MemAvailable"].split()[0]) * 1024]
    with contextlib.suppress(OSError, ValueError):  # absent, or "max"
        limit = int((_CGROUP / "memory.max").read_text())
        free.append(limit - int((_CGROUP / "memory.current").read_text()))
    return max(0, min(free))
