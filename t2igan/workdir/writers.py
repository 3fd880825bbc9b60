"""Writers of metrics.jsonl, sample grids and TensorBoard event files.

Only process 0 writes; the others have a writer that does nothing.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from t2igan.runtime.multihost import is_first_process
from t2igan.workdir.tensorboard import TensorBoardWriter

if TYPE_CHECKING:
    from ml_collections import ConfigDict


class MetricWriter(Protocol):
    """What the loop writes to."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Keeps numbers of a step."""

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """Keeps an image, uint8 [H, W, 3]."""

    def close(self) -> None:
        """Returns once all is on disk."""


class RunFolderWriter:
    """Writes metrics.jsonl, one object a line, and samples/step_00001000.png."""

    def __init__(self, workdir: Path, start_step: int = 0) -> None:
        """Opens the files to go on after `start_step`.

        Args:
          workdir: folder of the run.
          start_step: lines of later steps are cut off, as those steps are about to be run again.
        """
        self._samples = Path(workdir) / "samples"
        self._samples.mkdir(parents=True, exist_ok=True)
        path = Path(workdir) / "metrics.jsonl"
        cut_after(path, start_step)
        self._lines = path.open("ab", buffering=0)  # a kill loses no line

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Appends one line, in the hands of the operating system when this returns."""
        entry = {"step": step} | {name: _short(value) for name, value in values.items()}
        line = json.dumps(entry, allow_nan=False).encode() + b"\n"
        if self._lines.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._lines.name)

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """Writes the image whole or not at all; `name` is what TensorBoard calls it."""
        from PIL import Image

        path = self._samples / f"step_{step:08d}.png"
        part = path.with_suffix(".part")
        Image.fromarray(image).save(part, format="PNG")
        os.replace(part, path)

    def close(self) -> None:
        """Closes the file."""
        self._lines.close()


class Writers:
    """Several writers, or none, as one."""

    def __init__(self, *writers: MetricWriter) -> None:
        self._writers = writers

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Keeps numbers of a step in each."""
        for writer in self._writers:
            writer.scalars(step, values)

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """Keeps an image in each."""
        for writer in self._writers:
            writer.image(step, name, image)

    def close(self) -> None:
        """Closes each."""
        for writer in self._writers:
            writer.close()

    def __enter__(self) -> Writers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_writers(workdir: Path, start_step: int = 0, config: ConfigDict | None = None) -> Writers:
    """Returns the writers of a run: the folder's, TensorBoard's where it is installed, and that of
    Weights & Biases where the config asks for it.

    Processes other than the first get writers that do nothing.

    Args:
      workdir: folder of the run.
      start_step: steps done before; what was written of later ones is dropped.
      config: what TensorBoard and Weights & Biases show beside the numbers.

    Raises:
      UserError: see `WandbWriter`.
    """
    if not is_first_process():
        return Writers()
    writers: list[MetricWriter] = [RunFolderWriter(workdir, start_step)]
    with contextlib.suppress(ImportError):  # the extra `tensorboard` is not installed
        writers.append(TensorBoardWriter(workdir, start_step, config))
    if config is not None and config.wandb:
        from t2igan.workdir.wandb import WandbWriter

        writers.append(WandbWriter(workdir, config, start_step))
    return Writers(*writers)


def cut_after(path: Path, step: int) -> None:
    """Cuts lines of later steps, and lines that a kill has broken, out of a metrics.jsonl.

    Args:
      path: the file; nothing is done where there is none, or where nothing is to be cut.
      step: the last one to keep.
    """
    if not path.exists():
        return
    part = path.with_suffix(".part")
    cut = False
    with path.open("rb") as old, part.open("wb") as new:
        for line in old:
            if _is_kept(line, step):
                new.write(line)
            else:
                cut = True
    if cut:
        os.replace(part, path)
    else:
        part.unlink()


def _is_kept(line: bytes, last: int) -> bool:
    try:
        entry: Any = json.loads(line)
    except (ValueError, RecursionError):
        return False
    step = entry.get("step") if isinstance(entry, dict) else None
    return line.endswith(b"\n") and isinstance(step, int) and step <= last


def _short(value: Any) -> float | int | None:
    """The number with the digits of a float32; None, JSON's null, where it is not finite."""
    if isinstance(value, int):
        return value
    number = float(value)
    return float(str(np.float32(number))) if math.isfinite(number) else None
