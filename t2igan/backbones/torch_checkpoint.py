"""PyTorch's `.pth` files, read as plain arrays without running anything that is in them."""

from __future__ import annotations

import hashlib
import io
import math
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from input_pipeline.errors import UserError
from t2igan.backbones.tensor_pickle import Refused, Storage, Tensor, interpret

MAX_FILE_BYTES = 2**30
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C


def read(path: str | Path) -> dict[str, np.ndarray]:
    """Arrays of a checkpoint by parameter name, in the file's order.

    Both of PyTorch's formats are read: the zip archive and the older run of pickles.

    Args:
      path: a `.pth` file holding one flat dictionary of tensors (a state dict), below 1 GiB.

    Raises:
      UserError: where the file is missing, too large, damaged, or holds anything else.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected a PyTorch checkpoint (.pth)")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise UserError(f"{path}: larger than {MAX_FILE_BYTES} bytes; not a feature network")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes in damaged text: it is refused anyway
            return _read_zip(path) if zipfile.is_zipfile(path) else _read_legacy(path)
    except (Refused, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        reason = str(error)
    except (
        ValueError,
        MemoryError,
        TypeError,
        IndexError,
        KeyError,
        OverflowError,
        EOFError,
        OSError,
    ) as error:
        reason = f"damaged ({type(error).__name__})"
    raise UserError(f"{path}: not a dictionary of tensors: {' '.join(reason.split())[:200]}")


def sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_zip(path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        pickles = [name for name in entries if name.endswith("data.pkl")]
        if len(pickles) != 1:
            raise Refused(f"{len(pickles)} entries called data.pkl, expected one")
        if sum(entry.file_size for entry in entries.values()) > MAX_FILE_BYTES:
            raise Refused("its entries unpack to more than they should")
        folder = pickles[0][: -len("data.pkl")]
        order = folder + "byteorder"
        if order in entries and archive.read(order) != b"little":
            raise Refused("big-endian numbers")
        tensors = _state_dict(interpret(io.BytesIO(archive.read(pickles[0]))))
        numbers: dict[str, np.ndarray] = {}
        for storage in _storages(tensors).values():
            data = archive.read(f"{folder}data/{storage.key}")
            numbers[storage.key] = _numbers(data, storage)
        return {name: _array(tensor, numbers) for name, tensor in tensors.items()}


def _read_legacy(path: Path) -> dict[str, np.ndarray]:
    with path.open("rb") as file:
        if interpret(file) != LEGACY_MAGIC:
            raise Refused("no PyTorch file begins like this")
        interpret(file)  # Protocol version.
        system = interpret(file)
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise Refused("big-endian numbers")
        tensors = _state_dict(interpret(file))
        storages = _storages(tensors)
        if sum(_size(storage) for storage in storages.values()) > path.stat().st_size:
            raise Refused("it is shorter than its tensors say")
        numbers: dict[str, np.ndarray] = {}
        for key in interpret(file):
            storage = storages[key]
            if int.from_bytes(file.read(8), "little") != storage.count:
                raise Refused(f"storage {key!r} has another length than its tensors say")
            numbers[key] = _numbers(file.read(_size(storage)), storage)
        return {name: _array(tensor, numbers) for name, tensor in tensors.items()}


def _size(storage: Storage) -> int:
    return storage.count * storage.dtype.itemsize


def _numbers(data: bytes, storage: Storage) -> np.ndarray:
    if len(data) != _size(storage):
        raise Refused(f"storage {storage.key!r} is cut short")
    return np.frombuffer(data, storage.dtype)


def _state_dict(value: Any) -> dict[str, Tensor]:
    if not isinstance(value, dict) or not value:
        raise Refused("its top level is not a dictionary")
    for name, tensor in value.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise Refused(f"entry {str(name)[:60]!r} is not a tensor")
    return value


def _storages(tensors: dict[str, Tensor]) -> dict[str, Storage]:
    found: dict[str, Storage] = {}
    for tensor in tensors.values():
        storage = tensor.storage
        if found.setdefault(storage.key, storage) != storage:
            raise Refused(f"storage {storage.key!r} is described in two ways")
    return found


def _array(tensor: Tensor, numbers: dict[str, np.ndarray]) -> np.ndarray:
    """The window copied out, once it is known to lie within its storage."""
    storage, offset, shape, strides = tensor
    if len(shape) != len(strides) or len(shape) > 8 or min((0, offset, *shape, *strides)) < 0:
        raise Refused("a tensor of impossible shape")
    count = math.prod(shape)
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if count > storage.count or (count and last >= storage.count):
        raise Refused(f"a tensor reaches outside its storage {storage.key!r}")
    if not count:
        return np.zeros(shape, storage.dtype)
    window = numbers[storage.key][offset:]
    steps = [step * storage.dtype.itemsize for step in strides]
    return np.lib.stride_tricks.as_strided(window, shape, steps, writeable=False).copy()
