"""Generators that ship with the package: `NAME.npz` beside this file, read without pickle.

A file holds a generator's arrays, floating-point ones in 16 bits, under their names joined by "/",
and under `meta` what its checkpoint said of itself, as JSON.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from input_pipeline.errors import UserError, did_you_mean
from t2igan.workdir.meta import CheckpointMeta

FOLDER = Path(__file__).parent
_META = "meta"


def names() -> list[str]:
    """Returns the names of all generators that ship with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.npz"))


def path_of(name: str) -> Path:
    """Returns the file of a generator that ships with the package.

    Raises:
      UserError: there is none of that name.
    """
    if name in names():
        return FOLDER / f"{name}.npz"
    raise UserError(
        f"no pretrained model {name!r}{did_you_mean(name, names())} "
        f"(there are: {', '.join(names())})"
    )


def write(path: Path, variables: Mapping[str, Any], meta: CheckpointMeta) -> None:
    """Writes a generator's variables and what its checkpoint says of itself."""
    arrays = {name: _small(np.asarray(value)) for name, value in flat(variables)}
    arrays[_META] = np.frombuffer(json.dumps(meta.to_json()).encode(), np.uint8)
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def read(path: Path) -> tuple[dict[str, Any], CheckpointMeta]:
    """Returns the variables, float32, and the meta of a file that `write` wrote.

    Raises:
      UserError: it is damaged, or no such file.
    """
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        meta = CheckpointMeta.from_json(json.loads(arrays.pop(_META).tobytes()))
    except (OSError, TypeError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is not a pretrained model, or damaged: {error}") from error
    return nested(arrays), meta


def nested(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Returns variables of arrays by names joined by "/"; 16-bit numbers become float32."""
    variables: dict[str, Any] = {}
    for name, value in arrays.items():
        *folders, last = name.split("/")
        place = variables
        for folder in folders:
            place = place.setdefault(folder, {})
        place[last] = value.astype(np.float32) if value.dtype == np.float16 else value
    return variables


def flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields (name, array) of variables, names joined by "/"."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}/")
        else:
            yield prefix + name, value


def _small(value: np.ndarray) -> np.ndarray:
    return value.astype(np.float16) if np.issubdtype(value.dtype, np.floating) else value
