"""From word vectors to one vector a caption, in the ways a recipe may choose."""

from __future__ import annotations

import difflib

import flax.linen as nn
import jax
import jax.numpy as jnp

from t2igan.models.layers import dense, leaky_relu
from t2igan.models.text import flatten

KINDS = ("flat", "attention", "transformer")


def check_kind(kind: str) -> str:
    """Returns the kind.

    Raises:
      ValueError: there is no such text encoder.
    """
    if kind in KINDS:
        return kind
    near = difflib.get_close_matches(kind, KINDS, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(KINDS)}"
    raise ValueError(f"text encoder {kind!r}: {hint}")


class TextEncoder(nn.Module):
    """Returns [B, features] of word vectors [B, L, D] and their mask [B, L].

    Attributes:
      kind: "flat", a dense layer over all word vectors end to end (the report's); "attention",
        learned queries that each gather the words they look for; "transformer", the same after
        self-attention over the words.
      features: width of the result.
      heads: queries of "attention", heads of "transformer".
      dtype: of the computation.
    """

    kind: str = "attention"
    features: int = 128
    heads: int = 8
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, vectors: jax.Array, mask: jax.Array) -> jax.Array:
        if check_kind(self.kind) == "flat":
            return leaky_relu(dense(self.features, self.dtype)(flatten(vectors)))
        words = leaky_relu(dense(self.features, self.dtype, name="words_in")(vectors))
        if self.kind == "transformer":
            words = SelfAttentionBlock(self.heads, self.dtype)(words, mask)
        pooled = AttentionPool(self.heads, self.dtype)(words, mask)
        return dense(self.features, self.dtype, name="out")(pooled)


class AttentionPool(nn.Module):
    """Returns [B, heads * C]: for each query the mean of the words [B, L, C] it attends to.

    Words that the mask [B, L] half hides weigh half.
    """

    heads: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, words: jax.Array, mask: jax.Array) -> jax.Array:
        scores = dense(self.heads, jnp.float32, name="queries")(words.astype(jnp.float32))
        weights = _masked_softmax(scores, mask[:, :, None], axis=1)
        pooled = jnp.einsum("blh,blc->bhc", weights.astype(self.dtype), words)
        return pooled.reshape(pooled.shape[0], -1)


class SelfAttentionBlock(nn.Module):
    """Returns [B, L, C]: one pre-norm transformer block over words with learned places.

    Reference: Vaswani et al. 2017, section 3, arXiv:1706.03762; pre-norm as in arXiv:2002.04745.
    """

    heads: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, words: jax.Array, mask: jax.Array) -> jax.Array:
        _, length, width = words.shape
        places = self.param("places", nn.initializers.normal(0.02), (length, width))
        x = words + places.astype(self.dtype)[None]
        normed = nn.LayerNorm(dtype=self.dtype)(x)
        heads = (*normed.shape[:2], self.heads, width // self.heads)
        q, k, v = (dense(width, self.dtype, name=name)(normed).reshape(heads) for name in "qkv")
        scores = jnp.einsum("blhc,bmhc->bhlm", q, k).astype(jnp.float32) / heads[-1] ** 0.5
        weights = _masked_softmax(scores, mask[:, None, None, :], axis=-1).astype(self.dtype)
        mixed = jnp.einsum("bhlm,bmhc->blhc", weights, v).reshape(x.shape)
        x = x + dense(width, self.dtype, name="mix")(mixed)
        hidden = nn.gelu(
            dense(2 * width, self.dtype, name="hidden")(nn.LayerNorm(dtype=self.dtype)(x))
        )
        return x + dense(width, self.dtype, name="back")(hidden)


def _masked_softmax(scores: jax.Array, mask: jax.Array, axis: int) -> jax.Array:
    top = jax.lax.stop_gradient(scores.max(axis=axis, keepdims=True))
    weights = jnp.exp(scores - top) * mask
    return weights / (weights.sum(axis=axis, keepdims=True) + 1e-9)
