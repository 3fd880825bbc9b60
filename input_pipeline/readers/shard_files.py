"""Files of a data set in several shards: lists, folders, patterns, and the split in their names."""

from __future__ import annotations

import glob
import itertools
import re
from collections.abc import Sequence
from pathlib import Path

from input_pipeline.errors import UserError
from input_pipeline.readers.file_names import files_below
from input_pipeline.readers.rows import split_named

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_MOST = 1_000_000


def find(given: str, suffixes: Sequence[str]) -> list[tuple[Path, str]]:
    """Returns the files that a flag names, in order, each with the split that its name says.

    Args:
      given: files, folders (searched below), patterns with * or braces ({00000..00099}),
        separated by commas outside of braces.
      suffixes: that files in folders have.

    Returns:
      (file, train, validation, test or "").

    Raises:
      UserError: there is no such file.
    """
    found: list[tuple[Path, str]] = []
    for one in re.split(r",(?![^{]*\})", given):
        for name in expand(one.strip()):
            path = Path(name)
            if path.is_dir():
                inside = sorted(n for n in files_below(path) if n.lower().endswith(tuple(suffixes)))
                found += [(path / n, split_of(n)) for n in inside]
            elif path.exists():
                found.append((path, split_of(path.name) or split_of(f"{path.parent.name}/-")))
            elif any(char in name for char in "*?["):
                found += [(Path(n), split_of(Path(n).name)) for n in sorted(glob.glob(name))]
            else:
                raise UserError(f"--files={given}: there is no {name}")
    if not found:
        raise UserError(f"--files={given}: no {' or '.join(suffixes)} file is there")
    return found


def expand(pattern: str) -> list[str]:
    """Returns the names that a pattern with braces stands for, as a shell would write them.

    Raises:
      UserError: over a million.
    """
    match = _BRACES.search(pattern)
    if not match:
        return [pattern]
    between = _RANGE.fullmatch(match[1])
    if between:
        low, high = between.groups()
        width = len(low) if low.startswith("0") else 0
        if not 0 <= int(high) - int(low) < _MOST:
            raise UserError(f"{pattern}: {{{match[1]}}} is no range of at most {_MOST:,}")
        choices = [str(number).zfill(width) for number in range(int(low), int(high) + 1)]
    else:
        choices = match[1].split(",")
    before, after = pattern[: match.start()], pattern[match.end() :]
    rest = expand(after)
    return [before + choice + end for choice, end in itertools.product(choices, rest)]


def split_of(name: str) -> str:
    """Returns the split that a file's name begins with, or one of its folders has; else ""."""
    *folders, last = name.replace("\\", "/").split("/")
    first = re.split(r"[-_.\d]", last, maxsplit=1)[0]
    return next((split for part in (first, *reversed(folders)) if (split := split_named(part))), "")
