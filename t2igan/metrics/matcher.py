"""A dual encoder: pictures (by their lite0 features) and captions (word codes) in one space.

Small enough to be trained in minutes, and never shown to the models that it judges.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from input_pipeline.errors import UserError
from input_pipeline.vocabulary import END, NULL, START, UNK, Vocabulary
from t2igan.metrics.array_files import read_npz

Params = dict[str, jax.Array]
WIDTH = 256
HIDDEN = 512
HEADS = 4
BATCH = 512
FORMAT = "t2igan matcher 1"
MAX_BYTES = 2**28
_META = "meta"


def init(key: jax.Array, table: np.ndarray, features: np.ndarray) -> Params:
    """Parameters before training.

    Args:
      key: of the draw.
      table: float32 [V, D] word vectors, which go on learning.
      features: [n, 1280] lite0 features of training pictures, for their mean and spread.
    """
    dim = table.shape[1]
    known = table[len((NULL, START, END, UNK)) :]
    scale = float(known.std()) or 1.0
    shapes = {
        "image/1": (features.shape[1], HIDDEN),
        "image/2": (HIDDEN, WIDTH),
        "image/skip": (features.shape[1], WIDTH),
        "text/1": (dim, HIDDEN),
        "text/score": (HIDDEN, HEADS),
        "text/2": (HEADS * HIDDEN, WIDTH),
    }
    keys = jax.random.split(key, len(shapes))
    params = {
        name: jax.random.normal(k, shape) / np.sqrt(shape[0])
        for k, (name, shape) in zip(keys, shapes.items(), strict=True)
    }
    params |= {
        "image/1/bias": jnp.zeros(HIDDEN),
        "text/1/bias": jnp.zeros(HIDDEN),
        "words": jnp.asarray(table / scale, jnp.float32),
        "temperature": jnp.asarray(np.log(1 / 0.07), jnp.float32),
        "centre": jnp.asarray(features.mean(0), jnp.float32),
        "spread": jnp.asarray(features.std(0) + 1e-3, jnp.float32),
    }
    return params


def image_tower(params: Params, features: jax.Array, dropout: jax.Array | None = None) -> jax.Array:
    """[B, 256] rows of unit length of [B, 1280] lite0 features.

    Args:
      params: from `init`.
      features: as the network gives them.
      dropout: key of the dropout while training, None at use.
    """
    x = (features - params["centre"][None]) / params["spread"][None]
    x = _dropped(x, dropout, 0.2)
    hidden = jax.nn.gelu(x @ params["image/1"] + params["image/1/bias"][None])
    hidden = _dropped(hidden, dropout, 0.3)
    return _unit(hidden @ params["image/2"] + x @ params["image/skip"])


def text_tower(params: Params, codes: jax.Array, dropout: jax.Array | None = None) -> jax.Array:
    """[B, 256] rows of unit length of int [B, L] word codes.

    Every word is looked at by itself; four learned scores say how much each counts.
    """
    words = _dropped(params["words"][codes], dropout, 0.2)
    hidden = jax.nn.gelu(words @ params["text/1"] + params["text/1/bias"][None, None])
    score = hidden @ params["text/score"]
    counts = (codes != NULL) & (codes != START) & (codes != END)
    score = jnp.where(counts[:, :, None], score, -1e9)
    weights = jax.nn.softmax(score, axis=1)
    pooled = jnp.einsum("blh,bld->bhd", weights, hidden)
    pooled = _dropped(pooled.reshape(len(codes), -1), dropout, 0.3)
    return _unit(pooled @ params["text/2"])


def _dropped(x: jax.Array, key: jax.Array | None, rate: float) -> jax.Array:
    if key is None:
        return x
    key = jax.random.fold_in(key, x.shape[-1] * x.ndim)
    return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0.0)


def _unit(x: jax.Array) -> jax.Array:
    return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-6)


class Matcher:
    """A trained dual encoder.

    Attributes:
      vocabulary: its words; captions in other codes go through `reading`.
      caption_length: codes of a caption as it was trained.
      provenance: hash of the weights, and what they were trained on.
    """

    def __init__(self, params: Params, meta: dict[str, Any], codes: np.ndarray | None = None):
        """Args as `load` finds them; `codes` turns another vocabulary's codes into these."""
        self.params, self.meta = params, meta
        self.vocabulary = Vocabulary(tuple(meta["vocabulary"]))
        self.caption_length = int(meta["caption_length"])
        self.provenance = {"matcher": {"weights_sha256": digest(params), **meta["trained"]}}
        self._codes = codes

    def reading(self, vocabulary: Vocabulary) -> Matcher:
        """The same matcher for captions in the codes of another vocabulary."""
        known = {word: code for code, word in enumerate(self.vocabulary.words)}
        codes = np.array([known.get(word, UNK) for word in vocabulary.words], np.int32)
        return Matcher(self.params, self.meta, codes)

    def embed_images(self, features: np.ndarray) -> np.ndarray:
        """[n, 256] rows of unit length of [n, 1280] lite0 features."""
        return _in_batches(_image_step, self.params, np.asarray(features, np.float32))

    def embed_texts(self, codes: np.ndarray) -> np.ndarray:
        """[n, 256] rows of unit length of int32 [n, L] word codes."""
        codes = np.asarray(codes, np.int32) if self._codes is None else self._codes[codes]
        return _in_batches(_text_step, self.params, codes)

    def embed_captions(self, captions: Sequence[str]) -> np.ndarray:
        """[n, 256] rows of unit length of n sentences."""
        rows = [self.vocabulary.encode(caption, self.caption_length) for caption in captions]
        return _in_batches(_text_step, self.params, np.stack(rows))

    def save(self, path: str | Path) -> None:
        """Writes arrays and description as an `.npz`; nothing in it runs when it is read."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = {name: np.asarray(value) for name, value in self.params.items()}
        partial = path.with_name(path.name + ".partial")
        with partial.open("wb") as file:
            np.savez(file, **{_META: np.array(json.dumps(self.meta))}, **arrays)
        partial.replace(path)


def load(path: str | Path) -> Matcher:
    """The matcher that `t2igan train_matcher` wrote.

    Raises:
      UserError: there is no such file, or it is damaged or something else.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"--matcher={path}: no such file; make one with `t2igan train_matcher`")
    try:
        arrays = read_npz(path, MAX_BYTES)
        meta = json.loads(str(arrays.pop(_META)))
        if meta["format"] != FORMAT or meta["weights_sha256"] != digest(arrays):
            raise ValueError("not what was written")
        return Matcher(jax.tree.map(jnp.asarray, arrays), meta)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        reason = type(error).__name__
    except (RecursionError, UserError) as error:
        reason = type(error).__name__
    raise UserError(f"--matcher={path}: damaged, or no matcher of this version ({reason})")


def describe(
    params: Params, vocabulary: Vocabulary, caption_length: int, trained: dict[str, Any]
) -> dict[str, Any]:
    """What a matcher's file says of it."""
    return {
        "format": FORMAT,
        "weights_sha256": digest(params),
        "vocabulary": list(vocabulary.words),
        "caption_length": caption_length,
        "trained": trained,
    }


def digest(params: Params) -> str:
    """SHA-256 over names, shapes and numbers."""
    found = hashlib.sha256()
    for name in sorted(params):
        array = np.ascontiguousarray(params[name])
        found.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        found.update(array.tobytes())
    return found.hexdigest()


_image_step, _text_step = jax.jit(image_tower), jax.jit(text_tower)


def _in_batches(step: Any, params: Params, rows: np.ndarray) -> np.ndarray:
    """The rows through a jitted step, always as many at once, the last ones padded."""
    parts = []
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        padding = ((0, BATCH - len(part)), *((0, 0),) * (rows.ndim - 1))
        parts.append(np.asarray(step(params, np.pad(part, padding)))[: len(part)])
    return np.concatenate(parts) if parts else np.zeros((0, WIDTH), np.float32)
