"""PyTorch's `.pth` files of pinned SHA-256, read as plain arrays without PyTorch.

The hash is checked before a byte is parsed. The unpickler then knows only what a dictionary of
tensors needs; every other name is refused.
"""

from __future__ import annotations

import collections
import pickle
import zipfile
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from input_pipeline.errors import UserError
from input_pipeline.files import sha256

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_DAMAGE = (
    pickle.UnpicklingError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    TypeError,
    ValueError,
)


class _Storage(NamedTuple):
    """Where the numbers of a tensor lie: a key into the file, how many, and of what type."""

    key: str
    dtype: str
    count: int


class _Tensor(NamedTuple):
    """A window on a storage, in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


_DTYPES = {"Float": "<f4", "Double": "<f8", "Half": "<f2", "Long": "<i8", "Int": "<i4"}
_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): lambda *values: _Tensor(*values[:4]),
    ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
    **{("torch", f"{name}Storage"): dtype for name, dtype in _DTYPES.items()},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        _, dtype, key, _, count = pid[:5]
        return _Storage(str(key), dtype, int(count))


def read(path: str | Path, pinned: str, advice: str = "") -> dict[str, np.ndarray]:
    """Returns the arrays of a state dict by parameter name, in the file's order.

    Both of PyTorch's formats are read: the zip archive and the older run of pickles.

    Args:
      path: a `.pth` file.
      pinned: the SHA-256 that it must have.
      advice: ends the error where it has another.

    Raises:
      UserError: the file is missing, has another hash, or holds anything but tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected a PyTorch checkpoint (.pth)")
    digest = sha256(path)
    if digest != pinned:
        raise UserError(f"{path}: SHA-256 {digest[:8]}... is not {pinned[:8]}...{advice}")
    try:
        return _read_zip(path) if zipfile.is_zipfile(path) else _read_legacy(path)
    except _DAMAGE as error:
        raise UserError(f"{path}: not a dictionary of tensors: {error}") from error


def _read_zip(path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        (pickled,) = [name for name in archive.namelist() if name.endswith("data.pkl")]
        folder = pickled.removesuffix("data.pkl")
        with archive.open(pickled) as file:
            tensors = _Unpickler(file).load()
        keys = {tensor.storage.key for tensor in tensors.values()}
        data = {key: archive.read(f"{folder}data/{key}") for key in keys}
        return {name: _array(tensor, data) for name, tensor in tensors.items()}


def _read_legacy(path: Path) -> dict[str, np.ndarray]:
    with path.open("rb") as file:
        if _load(file) != LEGACY_MAGIC:
            raise ValueError("no PyTorch file begins like this")
        _load(file)  # protocol version
        _load(file)  # system
        tensors = _load(file)
        storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
        data: dict[str, bytes] = {}
        for key in _load(file):
            file.read(8)  # the storage's length, which its tensors say too
            storage = storages[str(key)]
            data[str(key)] = file.read(storage.count * np.dtype(storage.dtype).itemsize)
        return {name: _array(tensor, data) for name, tensor in tensors.items()}


def _load(file: BinaryIO) -> Any:
    return _Unpickler(file).load()


def _array(tensor: _Tensor, data: dict[str, bytes]) -> np.ndarray:
    """The window copied out of its storage; NumPy checks that it lies within."""
    storage, offset, shape, strides = tensor
    numbers = np.frombuffer(data[storage.key], storage.dtype)
    steps = [step * numbers.itemsize for step in strides]
    start = offset * numbers.itemsize
    return np.ndarray(shape, numbers.dtype, numbers.data, start, steps).copy()
