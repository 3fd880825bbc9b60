"""Files: written whole or not at all, hashed, read by line, and read with suspicion."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import os
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Yields a path to write to, which becomes `path` at the block's end.

    A reader sees the old file or the new one, never a part; where the block fails, the old one
    stays.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 text file, whole or not at all."""
    with replaced(path) as part:
        part.write_text(text, encoding="utf-8")


def sha256(path: str | Path) -> str:
    """Returns the SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Returns every whole line of a `.jsonl` file, in order; none where there is no file.

    A line cut short by a kill, or still being written, is passed over.
    """
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", errors="replace") as file:
        return parse_lines(file)


def parse_lines(lines: Iterable[str]) -> list[dict[str, Any]]:
    """Returns what `read_lines` does, of lines that were read already."""
    return [line for line in map(_parse, lines) if line]


def last_line(path: Path, window: int = 65536) -> dict[str, Any]:
    """Returns the last whole line of a `.jsonl` file, or {} where there is none.

    Args:
      path: the file; only its end is read.
      window: bytes of that end.
    """
    if not path.is_file():
        return {}
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - window))
        lines = file.read().decode(errors="replace").splitlines()
    return next((found for found in map(_parse, reversed(lines)) if found), {})


def is_number(value: Any) -> bool:
    """Returns whether a value of a line is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _parse(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def read_npz(path: Path, max_bytes: int) -> dict[str, np.ndarray]:
    """Returns the arrays of an `.npz` file by their names; nothing in it is unpickled.

    Args:
      path: the file.
      max_bytes: of all arrays together, as they are in memory.

    Raises:
      ValueError: it is no such file, it is damaged, or its arrays are larger.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            # A zip of a few kilobytes can hold terabytes of zeros.
            if sum(member.file_size for member in members) > max_bytes:
                raise ValueError(f"its arrays take more than {max_bytes} bytes")
            return {
                member.filename.removesuffix(".npy"): _read_array(_member(archive, member))
                for member in members
            }
    except ValueError:
        raise
    except Exception as error:  # both formats are parsed by code that raises what it likes
        raise ValueError(f"no .npz file, or a damaged one ({type(error).__name__})") from error


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """No more than the size that the archive's list says: `read()` would unpack it all first."""
    with archive.open(member) as file:
        return file.read(member.file_size)


def _read_array(data: bytes) -> np.ndarray:
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, _, dtype = read_header(file)
    # Before NumPy makes room for what the header declares.
    if math.prod(shape) * dtype.itemsize != len(data) - file.tell():
        raise ValueError("an array is not as large as its header says")
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)
