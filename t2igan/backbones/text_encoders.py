"""CLIP and T5 as encoders of captions: `--sentence_encoder=clip:FILE`, `t5:FILE`.

They run in JAX, on an accelerator where there is one.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from input_pipeline.errors import UserError
from t2igan.backbones import clip as clip_network
from t2igan.backbones import t5 as t5_network
from t2igan.backbones.tokenizer import Tokenizer
from t2igan.backbones.weight_files import WeightFile

MOST_T5_TOKENS = 256
_AT_ONCE = 16  # texts
_WIDTHS = 8  # tokens; lengths are rounded up to a multiple, so that few shapes are compiled

Apply = Callable[[Any, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]


class TextEncoder:
    """Vectors of texts and of their tokens, by a frozen network.

    Args:
      name: e.g. `clip_768`.
      tokenizer: of its texts.
      params: arrays that `apply` takes first.
      apply: (params, codes [B, T], lengths [B]) -> [B, E] and [B, T, W].
      weights_sha256: of the file.
      most_tokens: of a text that `__call__` gives.

    Attributes:
      name: as results and runs are named after it.
      sha256: of weights and tokenizer together.
      weights_sha256: of the weights alone.
    """

    def __init__(
        self,
        name: str,
        tokenizer: Tokenizer,
        params: Any,
        apply: Apply,
        weights_sha256: str,
        most_tokens: int = 0,
    ) -> None:
        self.name, self.weights_sha256 = name, weights_sha256
        both = f"{weights_sha256} {tokenizer.sha256}"
        self.sha256 = hashlib.sha256(both.encode()).hexdigest()
        self._tokenizer = tokenizer
        self._most_tokens = most_tokens
        self._params = jax.device_put(params)
        self._apply = jax.jit(apply)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Returns float32 [n, E], a vector of length 1 for each text.

        With `most_tokens`, [n, 1 + most_tokens, E]: after it the first tokens', as the network
        gives them, and zeros.
        """
        if not self._most_tokens:
            return clip_network.unit(self.vectors(texts)).astype(np.float32)
        found = self._encoded(texts or ["a"])
        width = len(found[0][0])
        if found[0][1].shape[1] != width:
            raise UserError(
                f"{self.name} gives texts {width} numbers and tokens {found[0][1].shape[1]}: "
                "--caption_tokens needs a network where they are as many"
            )
        out = np.zeros((len(texts), 1 + self._most_tokens, width), np.float32)
        for row, (whole, tokens) in zip(out, found, strict=False):
            kept = tokens[: self._most_tokens]
            row[0], row[1 : 1 + len(kept)] = clip_network.unit(whole[None])[0], kept
        return out

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """Returns float32 [n, E], as the network gives them."""
        if not texts:
            return self.vectors(["a"])[:0]
        return np.stack([whole for whole, _ in self._encoded(texts)])

    def tokens(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Returns float32 [T_i, W] of each text's tokens, begin and end included."""
        return [tokens for _, tokens in self._encoded(texts)]

    def _encoded(self, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Vector and tokens of each text, which do not depend on the texts beside it.

        Each goes through the network among as many, of about its length: one shape, one rounding.
        """
        codes = self._tokenizer(list(texts))
        widths = np.array([-(-len(row) // _WIDTHS) * _WIDTHS for row in codes])
        found: list[Any] = [None] * len(codes)
        for width in np.unique(widths):
            rows = np.flatnonzero(widths == width)
            for start in range(0, len(rows), _AT_ONCE):
                part = rows[start : start + _AT_ONCE].tolist()
                wholes, tokens = self._batch([codes[row] for row in part], int(width))
                for row, whole, own in zip(part, wholes, tokens, strict=False):
                    found[row] = whole, own[: len(codes[row])]
        return found

    def _batch(self, codes: list[np.ndarray], width: int) -> tuple[np.ndarray, np.ndarray]:
        padded = np.zeros((_AT_ONCE, width), np.int32)
        lengths = np.ones(_AT_ONCE, np.int32)
        for i, row in enumerate(codes):
            padded[i, : len(row)] = row
            lengths[i] = max(len(row), 1)
        wholes, tokens = self._apply(self._params, padded, lengths)
        return np.asarray(wholes), np.asarray(tokens)


def clip(file: str, tokens: int = 0) -> TextEncoder:
    """Returns CLIP's text network.

    Args:
      file: FILE or FILE@SHA256 of `CLIPModel` or `CLIPTextModel`, with tokenizer.json beside it.
      tokens: of a text that are given beside its vector.

    Raises:
      UserError: the weights or the tokenizer are missing, damaged, or others than said.
    """
    weights = WeightFile.named(file)
    shapes = weights.shapes()
    prefix = "text_" if "text_model.embeddings.token_embedding.weight" in shapes else ""
    words = f"{prefix and 'text_model.'}embeddings.token_embedding.weight"
    if words not in shapes:
        raise UserError(f"{weights.path}: no text network of CLIP under transformers' names")
    width = shapes[words][1]
    about = clip_network.geometry(_text_settings(weights), "text", width)
    tokenizer = Tokenizer(weights.path.parent, clip_network.TEXT_LENGTH)
    arrays, digest = weights.read(prefix)
    params = clip_network.text_params(arrays)

    def apply(params: Any, codes: jax.Array, lengths: jax.Array) -> tuple[jax.Array, jax.Array]:
        codes = codes[:, : clip_network.TEXT_LENGTH]  # 80 is 77 rounded up
        return clip_network.text_features(params, codes, about)

    return TextEncoder(f"clip_{width}", tokenizer, params, apply, digest, tokens)


def _text_settings(weights: WeightFile) -> dict[str, Any]:
    """config.json's, where that of a text network alone has its settings at the top."""
    settings = weights.settings()
    if "num_attention_heads" in settings and "text_config" not in settings:
        return {"text_config": settings}
    return settings


def t5(file: str, tokens: int = 0) -> TextEncoder:
    """Returns T5's encoder; a text's vector is the mean of its tokens'.

    Args:
      file: FILE or FILE@SHA256, with tokenizer.json beside it.
      tokens: of a text that are given beside its vector.

    Raises:
      UserError: the weights or the tokenizer are missing, damaged, or others than said.
    """
    weights = WeightFile.named(file)
    tokenizer = Tokenizer(weights.path.parent, MOST_T5_TOKENS)
    wanted = "shared.weight" if "shared.weight" in weights.shapes() else ""
    arrays, digest = weights.read("encoder.")
    if wanted:
        arrays |= weights.read(wanted)[0]
    params = t5_network.params_from(arrays)

    def apply(params: Any, codes: jax.Array, lengths: jax.Array) -> tuple[jax.Array, jax.Array]:
        tokens = t5_network.token_features(params, codes, lengths)
        own = (jnp.arange(codes.shape[1])[None] < lengths[:, None])[..., None]
        return jnp.where(own, tokens, 0).sum(axis=1) / lengths[:, None], tokens

    return TextEncoder(f"t5_{params['words'].shape[1]}", tokenizer, params, apply, digest, tokens)


@functools.cache
def load(kind: str, file: str, tokens: int = 0) -> TextEncoder:
    """Returns the encoder of `kind:file`, read once in a process; see `clip` and `t5`."""
    return {"clip": clip, "t5": t5}[kind](file, tokens)
