"""NumPy's `.npz`, read on the suspicion that it is damaged or made to harm."""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path

import numpy as np


def read_npz(path: Path, max_bytes: int) -> dict[str, np.ndarray]:
    """The arrays of an `.npz` file by their names; nothing in it is unpickled.

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
                member.filename.removesuffix(".npy"): _read_array(archive.read(member))
                for member in members
            }
    except ValueError:
        raise
    except Exception as error:  # both formats are parsed by code that raises what it likes
        raise ValueError(f"no .npz file, or a damaged one ({type(error).__name__})") from error


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
