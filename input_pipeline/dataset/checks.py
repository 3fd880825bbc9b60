"""The small files of a data set, read on the suspicion that they are damaged."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

_MAX_TEXT_BYTES = 64 << 20
_SUM = re.compile(r"([0-9a-f]{64})  ([^\n/]+)")


class Damaged(Exception):
    """A file is not what prepare wrote; the message names it and says why."""


class Fields:
    """The fields of a JSON object in a file, each checked when it is asked for.

    Raises:
      Damaged: the file is something else.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._values = json.loads(read_text(path))
        except (ValueError, RecursionError) as error:
            raise Damaged(f"{path} is not JSON") from error
        if not isinstance(self._values, dict):
            raise Damaged(f"{path} is not a JSON object")

    def get(self, name: str) -> Any:
        """Returns the value of a field, unchecked; None where there is none."""
        return self._values.get(name)

    def integer(self, name: str, low: int, high: int) -> int:
        """Returns the value of a field that is an integer from `low` to `high`."""
        value = self.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise Damaged(f"{self._path}: {name} must be an integer from {low} to {high}")
        return value

    def text(self, name: str, pattern: str) -> str:
        """Returns the value of a field that is a text of the pattern."""
        value = self.get(name)
        if not isinstance(value, str) or not re.fullmatch(pattern, value, re.ASCII):
            raise Damaged(f"{self._path}: {name} must be a text like {pattern}")
        return value


def read_text(path: Path) -> str:
    """Returns the text of a UTF-8 file of at most 64 MiB.

    Raises:
      Damaged: it is something else.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_TEXT_BYTES + 1)
        if len(data) > _MAX_TEXT_BYTES:
            raise Damaged(f"{path} is larger than {_MAX_TEXT_BYTES} bytes")
        return data.decode("utf-8")
    except OSError as error:
        raise Damaged(f"{path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise Damaged(f"{path} is not UTF-8 text") from error


def read_table(path: Path) -> np.ndarray:
    """Returns the float32 matrix in a NumPy file, all numbers finite.

    Raises:
      Damaged: it is something else.
    """
    try:
        # Mapped, so that a header that declares terabytes takes no memory.
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise Damaged(f"{path} cannot be read ({error.strerror or error})") from error
    except Exception as error:  # NumPy evaluates the header: a damaged one raises what it likes
        raise Damaged(f"{path} is not a NumPy array") from error
    if not isinstance(mapped, np.ndarray) or mapped.dtype != np.float32 or mapped.ndim != 2:
        raise Damaged(f"{path} is not a float32 matrix")
    table = np.array(mapped, order="C")
    if not np.isfinite(table).all():
        raise Damaged(f"{path} has numbers that are not finite")
    return table


def read_sums(path: Path) -> dict[str, str]:
    """SHA-256 of each file by its name, from the file that `sha256sum -c` reads.

    Raises:
      Damaged: it is something else.
    """
    lines = [_SUM.fullmatch(line) for line in read_text(path).splitlines()]
    if not lines or None in lines:
        raise Damaged(f"{path} is not a list of SHA-256 sums")
    return {match[2]: match[1] for match in lines if match}


def check_sum(path: Path, sums: Mapping[str, str]) -> None:
    """Reads a file whole and compares it with its sum.

    Raises:
      Damaged: it cannot be read, or it is another file than the one that was summed.
    """
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise Damaged(f"{path} cannot be read ({error.strerror})") from error
    if sums.get(path.name) != found:
        raise Damaged(f"{path} is not the file that prepare wrote")
