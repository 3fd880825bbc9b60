"""A small super-resolution network that keeps the first stage's image.

StackGAN's second stage draws the large image anew, through maps of 16x16 pixels and batch norm;
what the first stage had right it first loses and then has to learn again. Here the image is
enlarged and what is missing is added: nothing at the start, and never of more than a few pixels'
neighbourhood.

Reference: the difference to the enlarged image, VDSR, arXiv:1511.04587; the layers, `compact`.
"""

from __future__ import annotations

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from t2igan.models.compact import pixel_norm
from t2igan.models.dfgan import Affine
from t2igan.models.layers import Conv, dense, leaky_relu
from t2igan.models.stackgan_stage2 import check_sizes, draw_small
from t2igan.models.text import FROZEN, Text, WordVectors, word_mask
from t2igan.models.text_encoders import TextEncoder


class SuperResolution(nn.Module):
    """Returns {"image" [B, S, S, 3], about -1 to 1, "small" [B, s, s, 3]}, the second upsampled.

    What it draws is added to the small image, enlarged, and is nothing at the start. It looks
    at few pixels at a time: what an image shows is the first stage's.

    Attributes:
      stage1: generator of the small image; its variables are those in the collection `frozen`.
      image_size: S, 2 or 4 times s.
      gf_dim: channels at the full size; twice as many at s.
      text_dim: width of the encoded caption.
      text_encoder: see `TextEncoder`.
      condition_dim: width of what modulates every layer, made of the caption.
      layers: convolutions at s.
      dtype: of the computation; parameters and images are float32.
    """

    stage1: nn.Module
    image_size: int = 128
    gf_dim: int = 12
    text_dim: int = 64
    text_encoder: str = "attention"
    condition_dim: int = 128
    layers: int = 4
    dtype: jnp.dtype = jnp.float32

    def __call__(
        self, text: Text, noise: Mapping[str, jax.Array], *, train: bool
    ) -> dict[str, jax.Array]:
        """generates one image a caption; all noise is the first stage's."""
        small = draw_small(self.variables[FROZEN], self.stage1, text, noise)
        return {"image": self.enlarge(small, text, train=train), "small": small}

    @nn.compact
    def enlarge(self, small: jax.Array, text: Text, *, train: bool) -> jax.Array:
        """Returns [B, S, S, 3] of small images [B, s, s, 3] with a caption each."""
        vectors = WordVectors(self.dtype, name="words")(text)
        encoder = TextEncoder(self.text_encoder, self.text_dim, dtype=self.dtype, name="text")
        embedding = encoder(vectors, word_mask(text), text.get("sentence"))
        condition = leaky_relu(dense(self.condition_dim, self.dtype)(embedding))
        x = small
        for layer in range(self.layers):
            y = Conv(2 * self.gf_dim, 3, use_bias=True, dtype=self.dtype)(x)
            y = leaky_relu(Affine(self.dtype)(pixel_norm(y), condition))
            x = x + y if layer else y
        for _ in range(check_sizes(small.shape[1], self.image_size).bit_length() - 1):
            x = Conv(self.gf_dim, 3, upsample=True, use_bias=True, dtype=self.dtype)(x)
            x = leaky_relu(Affine(self.dtype)(pixel_norm(x), condition))
        zeros = nn.initializers.zeros
        drawn = Conv(3, 3, use_bias=True, kernel_init=zeros, dtype=self.dtype, name="image")(x)
        shape = (small.shape[0], self.image_size, self.image_size, 3)
        large = jax.image.resize(jnp.clip(small, -1.0, 1.0), shape, "linear")
        return large + drawn.astype(jnp.float32)
