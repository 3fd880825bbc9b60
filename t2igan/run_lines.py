"""The JSON lines of a run folder, read while another process may be writing them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Every whole line of a `.jsonl` file, in order; none where there is no file.

    A line cut short by a kill, or still being written, is passed over.
    """
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", errors="replace") as file:
        return [line for line in map(_parse, file) if line]


def last_line(path: Path, window: int = 65536) -> dict[str, Any]:
    """The last whole line of a `.jsonl` file, or {} where there is none.

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
    """Whether a value of a line is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _parse(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
