"""The SHA-256 manifest of a checkpoint: what its files must be for it to be whole."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

NAME = "MANIFEST.json"
# Orbax writes these two after the manifest; nothing of a restore is read from them.
_WRITTEN_LATER = frozenset({"_CHECKPOINT_METADATA", "commit_success.txt"})
ITEMS = ("state", "generator", "data", "meta")  # that a whole checkpoint has
_STEP = re.compile(r"step_(\d{8,})")
_SMALL = 1 << 16  # bytes: hashed even in a quick check


class Damaged(Exception):
    """A checkpoint is not what its manifest says; the message names the first difference."""


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What was written.

    Attributes:
      step: of the checkpoint.
      metrics: {name: value} known when it was saved; may be empty.
      best: the metric that ranks the run's checkpoints and "min" or "max".
      files: {path inside the checkpoint: (bytes, SHA-256 in hex)}.
    """

    step: int
    metrics: Mapping[str, float]
    best: tuple[str, str]
    files: Mapping[str, tuple[int, str]]


def write(folder: Path, step: int, metrics: Mapping[str, float], best: tuple[str, str]) -> Manifest:
    """Returns the manifest of all files in `folder`, written into it."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    files = {
        name: (path.stat().st_size, _sha256(path))
        for name, path in names.items()
        if name not in _WRITTEN_LATER and name != NAME
    }
    manifest = Manifest(step, dict(metrics), best, files)
    (folder / NAME).write_text(json.dumps(dataclasses.asdict(manifest), indent=1) + "\n")
    return manifest


def read(folder: Path) -> Manifest:
    """Returns the manifest of the checkpoint in `folder`.

    Raises:
      Damaged: there is none, or it is not one.
    """
    try:
        if not (folder / NAME).is_file():  # a pipe would be waited for
            raise FileNotFoundError
        raw: Any = json.loads((folder / NAME).read_text())
        files = {str(name): (int(size), str(sha)) for name, (size, sha) in raw["files"].items()}
        metrics = {str(name): float(value) for name, value in raw["metrics"].items()}
        name, mode = raw["best"]
        manifest = Manifest(int(raw["step"]), metrics, (str(name), str(mode)), files)
    except FileNotFoundError as error:
        raise Damaged(f"{NAME} is missing") from error
    except (OSError, ArithmeticError, AttributeError, LookupError) as error:
        raise Damaged(f"{NAME} cannot be read") from error
    except (RecursionError, TypeError, ValueError) as error:
        raise Damaged(f"{NAME} cannot be read") from error
    outside = [name for name in files if not _is_inside(name)]
    if outside:
        raise Damaged(f"{NAME} names {outside[0]!r}, which is no file of a checkpoint")
    return manifest


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return "\0" not in name and not path.is_absolute() and ".." not in path.parts


def verify(folder: Path, *, items: Collection[str] = (), quick: bool = False) -> Manifest:
    """Returns the manifest of the checkpoint in `folder` after comparing the files with it.

    Args:
      folder: of one step.
      items: the folders inside to compare; all where empty. They must be there.
      quick: compare presence and size of every file but the content of small ones only.

    Raises:
      Damaged: a file is missing or differs, or the folder's name says another step.
    """
    manifest = read(folder)
    named = _STEP.fullmatch(folder.name)
    if named and int(named[1]) != manifest.step:
        raise Damaged(f"it is the checkpoint of step {manifest.step}")
    for item in items or ITEMS:
        if not any(name.startswith(f"{item}/") for name in manifest.files):
            raise Damaged(f"{item} is missing")
    for name, (size, sha) in manifest.files.items():
        if not items or name.split("/")[0] in items:
            _compare(folder / name, name, size, None if quick and size > _SMALL else sha)
    return manifest


def _compare(path: Path, name: str, size: int, sha: str | None) -> None:
    try:
        if path.stat().st_size != size:
            raise Damaged(f"{name} has {path.stat().st_size} bytes where {size} were written")
        if sha is not None and _sha256(path) != sha:
            raise Damaged(f"{name} differs from its SHA-256")
    except OSError as error:
        raise Damaged(f"{name} is {'missing' if not path.exists() else 'unreadable'}") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
