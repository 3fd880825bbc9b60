"""Animations of a walk between captions or noises: .gif by Pillow, .mp4 by ffmpeg."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from input_pipeline.errors import UserError
from input_pipeline.files import replaced

SUFFIXES = (".gif", ".mp4")
FRAMES_A_SECOND = 12
_EASY_TO_SEE = 256  # pixels that small images are enlarged to, at least half of them


class Animation:
    """Writes the images of all rows as frames, there and back again, at the end of its block."""

    def __init__(self, path: Path) -> None:
        """Nothing is written yet.

        Args:
          path: ends in .gif or .mp4.

        Raises:
          UserError: it ends in .mp4, and there is no ffmpeg.
        """
        self._path = path
        self._rows: list[np.ndarray] = []
        if path.suffix.lower() == ".mp4" and shutil.which("ffmpeg") is None:
            raise UserError(
                f"--out={path}: .mp4 is written by ffmpeg, which is not here; give .gif"
            )

    def __enter__(self) -> Animation:
        return self

    def add(self, label: str, images: np.ndarray, about: dict[str, Any]) -> None:
        """Takes a row: its caption, uint8 [num, S, S, 3]; how it was made is not kept."""
        self._rows.append(images)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if error is not None:
            return
        if self._path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(self._path))
        there = np.concatenate(self._rows)
        frames = np.concatenate([there, there[-2:0:-1]])
        scale = max(1, _EASY_TO_SEE // frames.shape[1])
        frames = frames.repeat(scale, axis=1).repeat(scale, axis=2)
        with replaced(self._path) as part:
            write = _write_gif if self._path.suffix.lower() == ".gif" else _write_mp4
            write(part, frames)


def _write_gif(path: Path, frames: np.ndarray) -> None:
    images = [Image.fromarray(frame) for frame in frames]
    duration = 1000 // FRAMES_A_SECOND
    images[0].save(
        path, format="GIF", save_all=True, append_images=images[1:], duration=duration, loop=0
    )


def _write_mp4(path: Path, frames: np.ndarray) -> None:
    height, width = frames.shape[1:3]
    command = ["ffmpeg", "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    command += ["-s", f"{width}x{height}", "-r", str(FRAMES_A_SECOND), "-i", "-"]
    command += ["-pix_fmt", "yuv420p", "-f", "mp4", str(path)]
    done = subprocess.run(command, input=frames.tobytes(), capture_output=True, check=False)
    if done.returncode:
        why = done.stderr.decode(errors="replace").strip().split("\n")[-1][:200]
        raise UserError(f"ffmpeg could not write {path}: {why}")
