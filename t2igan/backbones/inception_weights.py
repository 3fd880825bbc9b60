"""The FID Inception's weights on disk: where they lie, whether they are the published ones."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np

from input_pipeline.errors import UserError
from input_pipeline.files import read_npz
from t2igan.backbones import torch_checkpoint

# Of `weights-inception-2015-12-05-6726825d.pth` (torch-fidelity) and
# `pt_inception-2015-12-05-6726825d.pth` (pytorch-fid): one file under two names.
WEIGHTS_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
VARIABLE = "T2IGAN_INCEPTION"
ADVICE = (
    "download weights-inception-2015-12-05-6726825d.pth from the releases of "
    "github.com/toshas/torch-fidelity (v0.2.0) and name it in the environment variable "
    f"{VARIABLE}, or use the feature network lite0, which needs no download"
)
_MAX_BYTES = 1 << 28  # its arrays take 95 MB
_DIGEST = "sha256_of_source"
_ARRAYS = "sha256_of_arrays"


def usual_places() -> list[Path]:
    """Returns where the weights are looked for when no file is named."""
    cache = Path.home() / ".cache"
    hub = Path(os.environ.get("TORCH_HOME", cache / "torch")) / "hub" / "checkpoints"
    return [
        cache / "t2igan" / "inception-2015-12-05.npz",
        hub / "weights-inception-2015-12-05-6726825d.pth",
        hub / "pt_inception-2015-12-05-6726825d.pth",
    ]


def find(weights: str | Path | None = None) -> Path:
    """Returns the file to read: the one named, that of the environment variable, or a usual place.

    Raises:
      UserError: none of them exists.
    """
    named = weights or os.environ.get(VARIABLE)
    places = [Path(named)] if named else usual_places()
    for path in places:
        if path.is_file():
            return path
    where = str(places[0]) if named else "the usual places"
    raise UserError(f"no Inception weights at {where}: {ADVICE}")


def read(path: Path) -> tuple[dict[str, np.ndarray], str]:
    """Returns the arrays under PyTorch's names, and the SHA-256 of the published file they are
    from.

    Raises:
      UserError: the file is damaged, or does not hold the published weights.
    """
    if path.suffix == ".npz":
        return _read_npz(path)
    advice = f" of the 2015 Inception weights: {ADVICE}"
    return torch_checkpoint.read(path, WEIGHTS_SHA256, advice), WEIGHTS_SHA256


def convert(source: Path, out: Path) -> None:
    """Writes the published `.pth` as an `.npz` of plain arrays, with the hashes of both.

    Raises:
      UserError: the source is not the published file.
    """
    state, digest = read(source)
    arrays = {name: array for name, array in state.items() if array.ndim}
    marks = {_DIGEST: np.array(digest), _ARRAYS: np.array(_hash_of(arrays))}
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".partial.npz")
    np.savez(partial, **arrays, **marks)
    partial.replace(out)


def _read_npz(path: Path) -> tuple[dict[str, np.ndarray], str]:
    try:
        arrays = read_npz(path, _MAX_BYTES)
        digest, recorded = str(arrays.pop(_DIGEST)), str(arrays.pop(_ARRAYS))
    except (ValueError, LookupError):
        raise UserError(
            f"{path}: damaged, or not made by scripts/weights/convert_inception.py"
        ) from None
    if _hash_of(arrays) != recorded:
        raise UserError(f"{path}: its numbers are not those converted: run the conversion again")
    if digest != WEIGHTS_SHA256:
        raise UserError(f"{path}: not made of the 2015 Inception weights: {ADVICE}")
    return arrays, digest


def _hash_of(arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape}\n".encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()
