"""Weights in a user's safetensors file: hashed, compared with a pin, read without running code.

Reference: the format, github.com/huggingface/safetensors.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open

from input_pipeline.errors import UserError
from input_pipeline.files import sha256
from t2igan.runtime import paths

_PIN = re.compile(r"(?P<path>.+)@(?P<digest>[0-9a-fA-F]{8,64})")

Arrays = dict[str, np.ndarray]
Shapes = dict[str, tuple[int, ...]]


class WeightFile(NamedTuple):
    """A file of weights, and the SHA-256 that it has to have.

    Attributes:
      path: a `.safetensors` file.
      pin: the first 8 to 64 digits of its SHA-256; empty for any.
    """

    path: Path
    pin: str = ""

    @classmethod
    def named(cls, text: str | Path) -> WeightFile:
        """Returns the file of `FILE` or `FILE@SHA256`; a folder stands for its model.safetensors.

        One in a bucket is copied to this machine: name its folder where config.json or
        tokenizer.json beside it are wanted too.

        Raises:
          UserError: there is no such file, or it is no safetensors file by its name.
        """
        match = _PIN.fullmatch(str(text))
        path = paths.local(match["path"] if match else text).expanduser()
        if path.is_dir():
            path = path / "model.safetensors"
        if not path.is_file():
            raise UserError(f"{path}: there is no such file; give a model.safetensors")
        if path.suffix != ".safetensors":
            raise UserError(
                f"{path}: weights are read from safetensors files, which hold numbers and no code"
            )
        return cls(path, match["digest"].lower() if match else "")

    def shapes(self) -> Shapes:
        """Returns the shape of each array by its name, from the file's first bytes.

        Raises:
          UserError: the file is damaged.
        """
        try:
            with safe_open(str(self.path), "np") as file:
                return {name: tuple(file.get_slice(name).get_shape()) for name in _names(file)}
        except (SafetensorError, OSError, ValueError) as error:
            raise self._damaged(error) from error

    def read(self, prefix: str = "") -> tuple[Arrays, str]:
        """Returns its float arrays as float32 by their names, and the file's SHA-256.

        The hash is compared before an array is read.

        Args:
          prefix: of the names to read; the others are left where they are.

        Raises:
          UserError: the file has another hash than its pin, or is damaged.
        """
        digest = sha256(self.path)
        if not digest.startswith(self.pin):
            raise UserError(f"{self.path}: SHA-256 {digest} is not {self.pin}, the one asked for")
        try:
            with safe_open(str(self.path), "np") as file:
                names = [name for name in _names(file) if name.startswith(prefix)]
                arrays = {name: file.get_tensor(name) for name in names}
        except (SafetensorError, OSError, ValueError) as error:
            raise self._damaged(error) from error
        return {
            name: np.asarray(array, np.float32)
            for name, array in arrays.items()
            if not np.issubdtype(array.dtype, np.integer)
        }, digest

    def settings(self) -> dict[str, object]:
        """Returns what a config.json beside the file says; empty where there is none.

        Raises:
          UserError: it is damaged.
        """
        beside = self.path.with_name("config.json")
        if not beside.is_file():
            return {}
        try:
            found = json.loads(beside.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{beside}: damaged: {error}") from error
        return found if isinstance(found, dict) else {}

    def _damaged(self, error: object) -> UserError:
        return UserError(
            f"{self.path}: not a safetensors file: {' '.join(str(error).split())[:200]}"
        )


def _names(file: Any) -> list[str]:
    return list(file.keys())
