"""Small networks for small images: one convolution a resolution, no residual branches.

What two CPU cores can train in minutes. The generator normalizes each pixel's features and lets
the caption scale and shift them; the discriminator has no norm and judges image and caption
together at 4x4, as DF-GAN's does.

Reference: pixel norm, Karras et al. 2018, section 4.2, arXiv:1710.10196; modulation by the caption
and the joint judgment, DF-GAN, section 3, arXiv:2008.05865.
"""

from __future__ import annotations

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from t2igan.models.dfgan import Affine, widths
from t2igan.models.layers import Conv, dense, leaky_relu
from t2igan.models.text import Text, WordVectors, word_mask
from t2igan.models.text_encoders import TextEncoder

_SMALLEST = 4


def pixel_norm(x: jax.Array) -> jax.Array:
    """Returns x [B, H, W, C] with each pixel's features scaled to a mean square of 1."""
    exact = x.astype(jnp.float32)
    scale = jax.lax.rsqrt(jnp.mean(jnp.square(exact), axis=-1, keepdims=True) + 1e-6)
    return (exact * scale).astype(x.dtype)


class Generator(nn.Module):
    """Returns {"image" [B, S, S, 3]}, about -1 to 1; what is beyond is cut off when it is shown.

    Attributes:
      image_size: S, 4 times a power of two.
      gf_dim: channels at half of the full size; they double downwards, to 8 * gf_dim at most.
      text_dim: width of the encoded caption.
      text_encoder: see `TextEncoder`.
      condition_dim: width of what modulates every layer, made of caption and noise.
      dtype: of the computation; parameters and the image are float32.
    """

    image_size: int = 64
    gf_dim: int = 12
    text_dim: int = 64
    text_encoder: str = "attention"
    condition_dim: int = 128
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, text: Text, noise: Mapping[str, jax.Array], *, train: bool
    ) -> dict[str, jax.Array]:
        """generates one image a caption.

        Args:
          text: {"codes": int32 [B, L]}, and "sentence" [B, E] for a text encoder that reads it.
          noise: {"z": [B, z_dim]}, standard normal.
          train: of no effect: there is neither batch norm nor dropout.
        """
        vectors = WordVectors(self.dtype, name="words")(text)
        encoder = TextEncoder(self.text_encoder, self.text_dim, dtype=self.dtype, name="text")
        embedding = encoder(vectors, word_mask(text), text.get("sentence"))
        condition = jnp.concatenate([embedding, noise["z"].astype(self.dtype)], axis=-1)
        for _ in range(2):
            condition = leaky_relu(dense(self.condition_dim, self.dtype)(condition))
        channels = widths(self.image_size, self.gf_dim)
        x = dense(_SMALLEST * _SMALLEST * channels[0], self.dtype, name="start")(condition)
        x = x.reshape(x.shape[0], _SMALLEST, _SMALLEST, channels[0])
        for width in channels[1:]:
            x = self._modulate(x, condition)
            x = Conv(width, 3, upsample=True, use_bias=True, dtype=self.dtype)(x)
        x = self._modulate(x, condition)
        image = Conv(3, 3, use_bias=True, dtype=self.dtype, name="image")(x)
        return {"image": image.astype(jnp.float32)}

    def _modulate(self, x: jax.Array, condition: jax.Array) -> jax.Array:
        return leaky_relu(Affine(self.dtype)(pixel_norm(x), condition))


class Discriminator(nn.Module):
    """Returns [B] logits: is this a real image, and does it show what its caption says?

    Attributes:
      image_size: S, 4 times a power of two.
      df_dim: channels after the first layer are twice as many; they double downwards, to
        8 * df_dim at most.
      text_dim: width of the encoded caption.
      text_encoder: see `TextEncoder`.
      joint_dim: channels in which image and caption are judged together.
      dtype: of the computation; parameters and logits are float32.
    """

    image_size: int = 64
    df_dim: int = 16
    text_dim: int = 64
    text_encoder: str = "attention"
    joint_dim: int = 64
    dtype: jnp.dtype = jnp.float32

    def setup(self) -> None:
        channels = widths(self.image_size, self.df_dim)[::-1]
        self.layers = [
            Conv(width, 4, stride=2, use_bias=True, dtype=self.dtype) for width in channels[1:]
        ]
        self.words = WordVectors(self.dtype)
        self.text = TextEncoder(self.text_encoder, self.text_dim, dtype=self.dtype)
        self.joint = Conv(self.joint_dim, 3, use_bias=True, dtype=self.dtype)
        self.logit = dense(1, self.dtype)
        self.image_embedding = dense(self.text_dim, self.dtype)

    def __call__(self, image: jax.Array, text: Text, *, train: bool) -> jax.Array:
        """Judges image [B, S, S, 3] in [-1, 1] with text {"codes": int32 [B, L]}."""
        features = self.image_features(image, train=train)
        self.embed_image(features, train=train)  # so that its parameters are made
        return self.judge(features, self.encode(text, train=train), train=train)

    def image_features(self, image: jax.Array, *, train: bool) -> jax.Array:
        """Returns [B, 4, 4, C]: all that the judgment needs of the image."""
        x = image.astype(self.dtype)
        for layer in self.layers:
            x = leaky_relu(layer(x))
        return x

    def encode(self, text: Text, *, train: bool) -> jax.Array:
        """Returns [B, text_dim]: all that the judgment needs of the caption."""
        return self.text(self.words(text), word_mask(text), text.get("sentence"))

    def judge(self, features: jax.Array, embedding: jax.Array, *, train: bool) -> jax.Array:
        """Returns [B] logits of image features with an encoded caption each."""
        tiled = jnp.broadcast_to(
            embedding[:, None, None, :], (*features.shape[:3], embedding.shape[-1])
        )
        x = leaky_relu(self.joint(jnp.concatenate([features, tiled], axis=-1)))
        return self.logit(x.reshape(x.shape[0], -1))[:, 0].astype(jnp.float32)

    def embed_image(self, features: jax.Array, *, train: bool) -> jax.Array:
        """Returns float32 [B, text_dim]: the image where its caption's encoding should be.

        Of every place apart, not pooled: captions say where things are.
        """
        flat = features.reshape(features.shape[0], -1)
        return self.image_embedding(flat).astype(jnp.float32)
