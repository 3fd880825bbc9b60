"""Tokens of CLIP's and T5's texts, by the tokenizer.json that lies beside their weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from input_pipeline.errors import UserError
from input_pipeline.files import sha256

INSTALL = "pip install 't2igan[text_encoders]'"


class Tokenizer:
    """Texts to codes.

    Args:
      folder: has the tokenizer.json of the weights.
      most: tokens of a text; what is longer is cut, its end kept.

    Attributes:
      sha256: of tokenizer.json.

    Raises:
      UserError: it is not there or damaged, or the package tokenizers is not installed.
    """

    def __init__(self, folder: Path, most: int) -> None:
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise UserError(
                f"{path}: there is no such file; it comes with the weights and belongs beside them"
            )
        try:
            import tokenizers
        except ImportError:
            raise UserError(
                f"CLIP's and T5's texts need the package tokenizers: {INSTALL}"
            ) from None
        try:
            self._tokenizer: Any = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises nothing more special
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{path}: not a tokenizer.json: {reason}") from error
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(most)
        self.sha256 = sha256(path)

    def __call__(self, texts: list[str]) -> list[np.ndarray]:
        """Returns the int32 [T] codes of each text, begin and end included where it has them."""
        found = self._tokenizer.encode_batch(texts)
        return [np.array(encoding.ids, np.int32) for encoding in found]
