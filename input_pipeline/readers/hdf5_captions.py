"""The student report's HDF5 files: captions as word codes, image numbers, URLs, words.

The files come from elsewhere: `hdf5_reader`, in a process of its own, opens and checks them.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from input_pipeline.errors import UserError
from input_pipeline.text.vocabulary import Vocabulary

# Reading a few MB takes far less, even from a slow disk.
_PATIENCE_SECONDS = 60.0
_MAX_LINE = 256 * 1024**2
_MAGIC = b"\x89HDF\r\n\x1a\n"

_BAD_IN_NAME = re.compile(r"[\x00-\x1f\x7f\\/:]")


def image_name(url: str) -> str | None:
    """File name of a URL's image: what follows the last `/`, stripped.

    None where that is no plain name: empty, too long, `..`, or with a backslash, a colon or a
    control character in it. A plain name joined to a folder stays in that folder.
    """
    name = url.rsplit("/", 1)[-1].strip()
    bad = name in ("", ".", "..") or _BAD_IN_NAME.search(name) is not None
    return None if bad or len(name.encode(errors="replace")) > 255 else name


class CaptionFile:
    """One file of the layout, checked, and read from its beginning to its end: URLs, then captions.

        with CaptionFile(path) as file:
            for url in file.urls(): ...
            for index, codes in file.rows(len(file.vocabulary)): ...

    Attributes:
      path: the file.
      split: `train` or `test`: how its data sets' names begin.
      images: number of URLs, M.
      captions: number of captions, N.
      length: codes of a caption, L.
      vocabulary: the words, where the file has them; MATLAB's changes to them are undone.
    """

    def __init__(self, path: Path, split: str = "any") -> None:
        """Opens the file.

        Args:
          path: an HDF5 file of the layout.
          split: `train` or `test`; `any` takes what the file has.

        Raises:
          UserError: it is missing, not HDF5, damaged, of another layout, or reaches outside itself,
            or its image numbers lie outside its URLs.
        """
        _check_magic(path)
        self.path = path
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed in close)
        self._process = _start(path, split, self._errors)
        try:
            header = self._line()
        except BaseException:
            self.close()
            raise
        self.split: str = header["split"]
        self.images: int = header["images"]
        self.captions: int = header["captions"]
        self.length: int = header["length"]
        words = header["words"]
        self.vocabulary = None if words is None else Vocabulary(tuple(words))
        self._urls_left = self.images

    def __enter__(self) -> CaptionFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the reading, wherever it is."""
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def urls(self) -> Iterator[str]:
        """Yields each URL in turn, once; bytes that are no UTF-8 become U+FFFD.

        Raises:
          UserError: the file is damaged.
        """
        while self._urls_left > 0:
            piece = self._line()["urls"]
            self._urls_left -= len(piece)
            yield from piece

    def rows(self, words: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields (index, codes) of the captions, in pieces: int64 [n] 0-based URL, uint16 [n, L].

        Image numbers count from 1, as the layout says; where 0 occurs, from 0. URLs not yet read
        are passed over.

        Args:
          words: size of the vocabulary; codes are below it.

        Raises:
          UserError: the file is damaged, or a code is outside the vocabulary.
        """
        for _ in self.urls():
            pass
        left = self.captions
        while left > 0:
            rows = self._line()["rows"]
            left -= rows
            index = np.frombuffer(self._bytes(8 * rows), "<i8")
            codes = np.frombuffer(self._bytes(2 * rows * self.length), "<u2")
            if codes.max() >= words:
                raise UserError(
                    f"{self.path} has the word code {codes.max()}; the vocabulary has codes 0 to "
                    f"{words - 1}: captions and words do not belong together"
                )
            yield index, codes.reshape(rows, self.length)
        self._line()  # The end: nothing is missing.

    def _line(self) -> dict[str, Any]:
        with self._patience():
            line = self._process.stdout.readline(_MAX_LINE)
        try:
            message = json.loads(line)
        except ValueError:
            raise self._broken_off() from None
        if "error" in message:
            raise UserError(message["error"])
        return message

    def _bytes(self, count: int) -> bytes:
        with self._patience():
            data = self._process.stdout.read(count)
        if len(data) < count:
            raise self._broken_off()
        return data

    @contextlib.contextmanager
    def _patience(self) -> Iterator[None]:
        timer = threading.Timer(_PATIENCE_SECONDS, self._process.kill)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _broken_off(self) -> UserError:
        self._process.kill()
        status = self._process.wait()
        self._errors.seek(0)
        said = self._errors.read()[-4096:].decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(said) if line.strip()), "")
        return UserError(
            f"{self.path} cannot be read as HDF5 (the reader ended with status {status} {last}); "
            "fetch it again"
        )


def _start(path: Path, split: str, errors: IO[bytes]) -> subprocess.Popen[bytes]:
    root = str(Path(__file__).resolve().parents[2])
    inherited = os.environ.get("PYTHONPATH")
    # -P: no module of that name in the current folder is run instead.
    command = [sys.executable, "-P", "-m", "input_pipeline.readers.hdf5_reader"]
    return subprocess.Popen(
        [*command, str(path.absolute()), split],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([root, inherited] if inherited else [root]),
            "HDF5_PLUGIN_PRELOAD": "::",  # No code from plug-in folders.
        },
    )


def _check_magic(path: Path) -> None:
    """Refuses what is plainly something else, without starting anything."""
    if not path.is_file():
        raise UserError(f"there is no file {path}; give an HDF5 file of captions")
    try:
        with open(path, "rb") as file:
            found = _has_magic(file, path.stat().st_size)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; give a readable file") from error
    if not found:
        raise UserError(f"{path} is not an HDF5 file; give an HDF5 file of captions")


def _has_magic(file: IO[bytes], size: int) -> bool:
    # HDF5 may begin at 0, 512, 1024, 2048, ...: MATLAB's files do at 512.
    at = 0
    while at < size:
        file.seek(at)
        if file.read(len(_MAGIC)) == _MAGIC:
            return True
        at = max(512, 2 * at)
    return False
