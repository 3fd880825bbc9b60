"""From word vectors, or a stored sentence embedding, to one vector a caption."""

from __future__ import annotations

import difflib

import flax.linen as nn
import jax
import jax.numpy as jnp

from t2igan.models.layers import dense, leaky_relu
from t2igan.models.text import flatten

SENTENCE_KINDS = ("sentence", "sentence+attention", "tokens")
KINDS = ("flat", "attention", "transformer", *SENTENCE_KINDS)


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


def text_inputs(kind: str) -> tuple[str, ...]:
    """Returns what of a caption the encoder reads: word codes, and its sentence embedding or not.

    Raises:
      ValueError: there is no such text encoder.
    """
    return ("codes", "sentence") if check_kind(kind) in SENTENCE_KINDS else ("codes",)


class TextEncoder(nn.Module):
    """Returns [B, features] of word vectors [B, L, D], their mask [B, L], and a sentence.

    The sentence is [B, E], or [B, 1 + T, E] with its tokens: zeros where there are fewer.

    Attributes:
      kind: "flat", a dense layer over all word vectors end to end (the report's); "attention",
        learned queries that each gather the words they look for; "transformer", the same after
        self-attention over the words; "sentence", a dense layer over the sentence embedding, which
        the data set brings; "sentence+attention", both together; "tokens", the same on the
        tokens of the sentence's encoder in place of the word vectors.
      features: width of the result.
      heads: queries of "attention", heads of "transformer".
      dtype: of the computation.
    """

    kind: str = "attention"
    features: int = 128
    heads: int = 8
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, vectors: jax.Array, mask: jax.Array, sentence: jax.Array | None = None
    ) -> jax.Array:
        if check_kind(self.kind) == "flat":
            return leaky_relu(dense(self.features, self.dtype)(flatten(vectors)))
        if self.kind == "sentence":
            return self._of_sentence(sentence)
        if self.kind == "tokens":
            vectors, mask = _tokens(sentence)
        words = leaky_relu(dense(self.features, self.dtype, name="words_in")(vectors))
        if self.kind == "transformer":
            words = SelfAttentionBlock(self.heads, self.dtype)(words, mask)
        pooled = AttentionPool(self.heads, self.dtype)(words, mask)
        if self.kind in SENTENCE_KINDS:
            pooled = jnp.concatenate([pooled, self._of_sentence(sentence)], axis=-1)
        return dense(self.features, self.dtype, name="out")(pooled)

    def _of_sentence(self, sentence: jax.Array | None) -> jax.Array:
        if sentence is None:
            raise ValueError(f"text encoder {self.kind!r}: the captions have no sentence embedding")
        whole = sentence if sentence.ndim == 2 else sentence[:, 0]
        scaled = unit_scale(whole).astype(self.dtype)
        return leaky_relu(dense(self.features, self.dtype, name="sentence")(scaled))


def _tokens(sentence: jax.Array | None) -> tuple[jax.Array, jax.Array]:
    """[B, T, E] tokens, scaled, and their mask [B, T]."""
    if sentence is None or sentence.ndim != 3:
        raise ValueError("text encoder 'tokens': the captions have no embeddings of their tokens")
    tokens = sentence[:, 1:]
    return unit_scale(tokens), jnp.any(tokens != 0, axis=-1).astype(jnp.float32)


def unit_scale(x: jax.Array) -> jax.Array:
    """Returns float32 rows of x [..., E] scaled so that the mean of their squares is 1.

    Encoders give vectors of length 1 as a rule: numbers of 0.05, which the noise beside them, or
    a dense layer's first weights, would drown.
    """
    x = x.astype(jnp.float32)
    return x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + 1e-8)


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
