"""Captions as the networks see them: word codes in, text embeddings out."""

from __future__ import annotations

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from input_pipeline.text.vocabulary import NULL

# What a network is given of a caption: "codes" int32 [B, L]; or in their place "vectors" [B, L, D]
# and "mask" [B, L] in [0, 1] (points between captions have no codes). Beside them "sentence"
# [B, E], an encoder's embedding of the whole caption, for networks that read it.
Text = Mapping[str, jax.Array]

# The word vectors live here: not trained, so neither a parameter nor in the optimizer.
FROZEN = "frozen"
# Beside them, under this name, the generator that a second stage builds on.
STAGE1 = "stage1"


def frozen_variables(word_vectors: jax.Array, stage1: Mapping | None = None) -> dict:
    """Returns the collection `frozen` that every network reads its word vectors from.

    Args:
      word_vectors: [V, D] one row a word code.
      stage1: {"params", "batch_stats", "frozen" without the words} of a finished generator that
        the generator here builds on, or None.
    """
    words = {"words": {"table": word_vectors}}
    return words if stage1 is None else words | {STAGE1: dict(stage1)}


class WordVectors(nn.Module):
    """Returns [B, L, D] word vectors of a text: row k of the table for code k.

    Every network names it `words`, so that one `frozen` collection serves them all. The gather
    runs on the device, so that a caption travels as L codes and not as L * D numbers.
    """

    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, text: Text) -> jax.Array:
        if "vectors" in text:
            return text["vectors"].astype(self.dtype)
        table = self.get_variable(FROZEN, "table")
        if table is None:
            raise ValueError("no word vectors: pass frozen_variables(word_vectors)")
        return table.astype(self.dtype)[text["codes"]]


def word_mask(text: Text) -> jax.Array:
    """Returns float32 [B, L]: 1 at words (start and end are words too), 0 at padding."""
    if "mask" in text:
        return text["mask"].astype(jnp.float32)
    return (text["codes"] != NULL).astype(jnp.float32)


def flatten(vectors: jax.Array) -> jax.Array:
    """Returns [B, L * D]: word vectors [B, L, D] end to end, the baseline's text embedding."""
    return vectors.reshape(vectors.shape[0], -1)
