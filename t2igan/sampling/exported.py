"""Exported weights: safetensors with what the checkpoint said of itself, without pickle.

A folder that `t2igan export` wrote, a ZIP of it, or a repository of the Hugging Face hub.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from input_pipeline.errors import UserError
from t2igan.sampling.pretrained import flat, nested
from t2igan.workdir.meta import CheckpointMeta

NAME = "model.safetensors"
HUB = "hf://"
_META = "t2igan"
_MOST_BYTES = 8 << 30


def write(
    variables: Mapping[str, Any], meta: CheckpointMeta, step: int, path: Path, half: bool = False
) -> None:
    """Writes a generator.

    Args:
      variables: the generator's.
      meta: what its checkpoint says of itself.
      step: of the checkpoint.
      path: the file.
      half: floating-point numbers in 16 bits.
    """
    from safetensors.numpy import save_file

    arrays = {}
    for name, value in flat(variables):
        array = np.ascontiguousarray(value)
        if half and array.dtype == np.float32:
            array = array.astype(np.float16)
        arrays[name] = array
    save_file(arrays, path, metadata={_META: json.dumps({**meta.to_json(), "step": step})})


def is_export(path: str | Path) -> bool:
    """Returns whether `read` is meant: a folder with exported weights, a ZIP, or hf://USER/NAME."""
    if str(path).startswith(HUB):
        return True
    return Path(path).suffix.lower() == ".zip" or (Path(path) / NAME).is_file()


def read(path: str | Path) -> tuple[dict[str, Any], CheckpointMeta]:
    """Returns the variables, float32, and the meta of an export.

    Args:
      path: a folder, a ZIP of one, or hf://USER/NAME[@REVISION].

    Raises:
      UserError: it is damaged, not there, or has no weights.
    """
    data = _bytes(_from_hub(str(path)) if str(path).startswith(HUB) else Path(path))
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        meta = CheckpointMeta.from_json(json.loads(header["__metadata__"][_META]))
        arrays = load(data)
    except (SafetensorError, TypeError, ValueError, LookupError, RecursionError) as error:
        raise UserError(f"{path} has no exported generator, or a damaged one: {error}") from error
    return nested(arrays), meta


def _bytes(path: Path) -> bytes:
    if path.is_dir():
        return (path / NAME).read_bytes()
    try:
        with zipfile.ZipFile(path) as archive:
            members = [one for one in archive.infolist() if Path(one.filename).name == NAME]
            if len(members) != 1 or members[0].file_size > _MOST_BYTES:
                raise UserError(f"{path} has no one {NAME}: it is no export")
            with archive.open(members[0]) as file:
                return file.read(members[0].file_size)
    except zipfile.BadZipFile as error:
        raise UserError(f"{path} is no ZIP archive, or damaged") from error


def _from_hub(address: str) -> Path:
    name, _, revision = address.removeprefix(HUB).partition("@")
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise UserError(
            f"{address} needs the client of the hub: pip install 't2igan[hub]'"
        ) from error
    try:
        found = snapshot_download(name, revision=revision or None, allow_patterns=[NAME, "*.json"])
    except Exception as error:  # of many kinds: no such repository, no network, no right
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{address} cannot be had: {reason}") from error
    if not (Path(found) / NAME).is_file():
        raise UserError(f"{address} has no {NAME}: it is no export of t2igan")
    return Path(found)
