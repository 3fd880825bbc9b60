"""A dual encoder: images (by their lite0 features) and captions in one space.

Captions are read by a sentence encoder, or by their words' vectors where there is none. Small
enough to be trained in minutes, and never shown to the models that it judges.
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
from input_pipeline.files import read_npz
from input_pipeline.text.sentence_encoders import Identity, SentenceEncoder, open_known
from input_pipeline.text.vocabulary import END, NULL, START, UNK, Vocabulary

Params = dict[str, jax.Array]
WIDTH = 512
HIDDEN = 1024
WORD_HIDDEN = 512
HEADS = 4
BATCH = 512
# A few thousand images are known by heart in a minute: what is left out keeps that from coming.
IMAGE_DROPOUT = 0.6
SENTENCE_DROPOUT, SENTENCE_HIDDEN_DROPOUT = 0.1, 0.6
WORD_DROPOUT, WORD_HIDDEN_DROPOUT = 0.2, 0.3
FORMAT = "t2igan matcher 2"
MAX_BYTES = 2**28
_META = "meta"


def init(key: jax.Array, table: np.ndarray, features: np.ndarray, sentence_dim: int = 0) -> Params:
    """Parameters before training.

    Args:
      key: of the draw.
      table: float32 [V, D] word vectors, which go on learning; not used beside sentences.
      features: [n, 1280] lite0 features of training images, for their mean and spread.
      sentence_dim: E, width of the captions' sentence embeddings; 0 reads their words.
    """
    text = _sentence_shapes(sentence_dim) if sentence_dim else _word_shapes(table.shape[1])
    shapes = text | {
        "image/1": (features.shape[1], HIDDEN),
        "image/2": (HIDDEN, WIDTH),
        "image/skip": (features.shape[1], WIDTH),
    }
    keys = jax.random.split(key, len(shapes))
    params = {
        name: jax.random.normal(k, shape) / np.sqrt(shape[0])
        for k, (name, shape) in zip(keys, shapes.items(), strict=True)
    }
    for name in ("image/1", "text/1", "sentence/1"):
        if name in params:
            params[name + "/bias"] = jnp.zeros(shapes[name][1])
    params |= {
        "temperature": jnp.asarray(np.log(1 / 0.07), jnp.float32),
        "centre": jnp.asarray(features.mean(0), jnp.float32),
        "spread": jnp.asarray(features.std(0) + 1e-3, jnp.float32),
    }
    if sentence_dim:
        return params
    known = table[len((NULL, START, END, UNK)) :]
    scale = float(known.std()) or 1.0
    return params | {"words": jnp.asarray(table / scale, jnp.float32)}


def _sentence_shapes(dim: int) -> dict[str, tuple[int, int]]:
    return {
        "sentence/1": (dim, HIDDEN),
        "sentence/2": (HIDDEN, WIDTH),
        "sentence/skip": (dim, WIDTH),
    }


def _word_shapes(dim: int) -> dict[str, tuple[int, int]]:
    return {
        "text/1": (dim, WORD_HIDDEN),
        "text/score": (WORD_HIDDEN, HEADS),
        "text/2": (HEADS * WORD_HIDDEN, WIDTH),
    }


def image_tower(params: Params, features: jax.Array, dropout: jax.Array | None = None) -> jax.Array:
    """Returns [B, 512] rows of unit length of [B, 1280] lite0 features.

    Args:
      params: from `init`.
      features: as the network gives them.
      dropout: key of the dropout while training, None at use.
    """
    x = (features - params["centre"][None]) / params["spread"][None]
    return _tower(params, "image", x, dropout, (IMAGE_DROPOUT, IMAGE_DROPOUT))


def text_tower(params: Params, text: jax.Array, dropout: jax.Array | None = None) -> jax.Array:
    """Returns [B, 512] rows of unit length of sentence embeddings [B, E], or of int [B, L] word
    codes.

    Args:
      params: from `init`, which say what is read.
      text: float or int.
      dropout: key of the dropout while training, None at use.
    """
    if "words" in params:
        return _word_tower(params, text, dropout)
    x = _unit(text.astype(jnp.float32)) * np.sqrt(text.shape[-1])
    rates = SENTENCE_DROPOUT, SENTENCE_HIDDEN_DROPOUT
    return _tower(params, "sentence", x, dropout, rates)


def _tower(
    params: Params,
    name: str,
    x: jax.Array,
    dropout: jax.Array | None,
    rates: tuple[float, float],
) -> jax.Array:
    """One hidden layer beside a straight way; rates of what is left out before and in it."""
    x = _dropped(x, dropout, rates[0])
    hidden = jax.nn.gelu(x @ params[f"{name}/1"] + params[f"{name}/1/bias"][None])
    hidden = _dropped(hidden, dropout, rates[1])
    return _unit(hidden @ params[f"{name}/2"] + x @ params[f"{name}/skip"])


def _word_tower(params: Params, codes: jax.Array, dropout: jax.Array | None) -> jax.Array:
    """Every word is looked at by itself; four learned scores say how much each counts."""
    words = _dropped(params["words"][codes], dropout, WORD_DROPOUT)
    hidden = jax.nn.gelu(words @ params["text/1"] + params["text/1/bias"][None, None])
    score = hidden @ params["text/score"]
    counts = (codes != NULL) & (codes != START) & (codes != END)
    score = jnp.where(counts[:, :, None], score, -1e9)
    weights = jax.nn.softmax(score, axis=1)
    pooled = jnp.einsum("blh,bld->bhd", weights, hidden)
    pooled = _dropped(pooled.reshape(len(codes), -1), dropout, WORD_HIDDEN_DROPOUT)
    return _unit(pooled @ params["text/2"])


def _dropped(x: jax.Array, key: jax.Array | None, rate: float) -> jax.Array:
    if key is None:
        return x
    key = jax.random.fold_in(key, x.shape[-1] * x.ndim)
    return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0.0)


def _unit(x: jax.Array) -> jax.Array:
    """Rows scaled to length 1. Where all inputs were dropped a row is 0, and so is its gradient."""
    return x * jax.lax.rsqrt(jnp.sum(jnp.square(x), axis=-1, keepdims=True) + 1e-12)


class Matcher:
    """A trained dual encoder.

    Attributes:
      vocabulary: its words; captions in other codes go through `reading`.
      caption_length: codes of a caption as it was trained.
      sentences: whose sentence embeddings it reads, or None where it reads words.
      provenance: hash of the weights, and what they were trained on.
    """

    def __init__(
        self,
        params: Params,
        meta: dict[str, Any],
        read: Vocabulary | None = None,
        encoder: SentenceEncoder | None = None,
    ):
        """Args as `load` finds them.

        Args:
          params: of the towers.
          meta: from `describe`.
          read: vocabulary of the codes that are asked about, if it is another.
          encoder: of sentences; without one `open_encoder` finds the built-in.

        Raises:
          ValueError: meta is no matcher's.
        """
        self.params, self.meta = params, meta
        self.vocabulary = Vocabulary(tuple(meta["vocabulary"]))
        self.caption_length = int(meta["caption_length"])
        known = meta["sentence_encoder"]
        self.sentences = None if known is None else Identity.from_json(known)
        if (self.sentences is None) != ("words" in params):
            raise ValueError("the weights read something else than is said of them")
        self.provenance = {"matcher": {"weights_sha256": digest(params), **meta["trained"]}}
        self._read, self._encoder = read or self.vocabulary, encoder
        self._last: tuple[list[str], np.ndarray] | None = None

    def reading(self, vocabulary: Vocabulary) -> Matcher:
        """Returns the same matcher for captions in the codes of another vocabulary."""
        return Matcher(self.params, self.meta, vocabulary, self._encoder)

    def embed_images(self, features: np.ndarray) -> np.ndarray:
        """Returns [n, 512] rows of unit length of [n, 1280] lite0 features."""
        return _in_batches(_image_step, self.params, np.asarray(features, np.float32))

    def embed_texts(self, codes: np.ndarray) -> np.ndarray:
        """Returns [n, 512] rows of unit length of int32 [n, L] word codes.

        Raises:
          UserError: the matcher reads sentences, and their encoder is not installed.
        """
        if self.sentences is not None:
            return self._embed_sentences(spoken(self._read, codes))
        known = self.vocabulary.codes
        own = np.array([known.get(word, UNK) for word in self._read.words], np.int32)
        return self.embed_rows(own[np.asarray(codes, np.int32)])

    def embed_captions(self, captions: Sequence[str]) -> np.ndarray:
        """Returns [n, 512] rows of unit length of n sentences.

        Raises:
          UserError: the matcher reads sentences, and their encoder is not installed.
        """
        if self.sentences is not None:
            return self._embed_sentences(captions)
        rows = [self.vocabulary.encode(caption, self.caption_length) for caption in captions]
        return self.embed_rows(np.stack(rows))

    def embed_rows(self, texts: np.ndarray) -> np.ndarray:
        """Returns [n, 512] rows of unit length of what the text tower reads: own codes, or
        sentences'.
        """
        return _in_batches(_text_step, self.params, texts)

    def _embed_sentences(self, captions: Sequence[str]) -> np.ndarray:
        """Those of the last call are kept: metrics ask for the same captions one after another."""
        captions = list(captions)
        if self._last is None or self._last[0] != captions:
            self._last = captions, self.embed_rows(self.open_encoder()(captions))
        return self._last[1]

    def open_encoder(self) -> SentenceEncoder | None:
        """Returns the encoder of its sentences, None where it reads words.

        Raises:
          UserError: it is not installed, or has other weights.
        """
        if self._encoder is None and self.sentences is not None:
            self._encoder = open_known(self.sentences)
        return self._encoder

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
    """Returns the matcher that `t2igan train_matcher` wrote.

    Raises:
      UserError: there is no such file, it is damaged or something else, or it reads sentences and
        their encoder is not installed or another.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"--matcher={path}: no such file; make one with `t2igan train_matcher`")
    try:
        arrays = read_npz(path, MAX_BYTES)
        meta = json.loads(str(arrays.pop(_META)))
        if meta["format"] != FORMAT or meta["weights_sha256"] != digest(arrays):
            raise ValueError("not what was written")
        found = Matcher(jax.tree.map(jnp.asarray, arrays), meta)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        reason = type(error).__name__
    except (RecursionError, UserError) as error:
        reason = type(error).__name__
    else:
        found.open_encoder()  # missing, it should be missed before images are drawn
        return found
    raise UserError(f"--matcher={path}: damaged, or no matcher of this version ({reason})")


def spoken(vocabulary: Vocabulary, codes: np.ndarray) -> list[str]:
    """Returns captions of int [n, L] codes as texts, without unknown words."""
    rows = np.asarray(codes)
    return [vocabulary.decode(row[row != UNK]) for row in rows]


def describe(
    params: Params,
    vocabulary: Vocabulary,
    caption_length: int,
    trained: dict[str, Any],
    sentences: Identity | None = None,
) -> dict[str, Any]:
    """Returns what a matcher's file says of it."""
    return {
        "format": FORMAT,
        "sentence_encoder": None if sentences is None else sentences.to_json(),
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
