"""Residual networks with text and noise in every block and no norm, as in DF-GAN.

Reference: DF-GAN, section 3, arXiv:2008.05865. Two things are computed elsewhere than there, to
the same values: what is done to each pixel alone is done before the image is enlarged, and
enlarging is one with the convolution after it.
"""

from __future__ import annotations

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from t2igan.models.conv.plain import upsample_nearest
from t2igan.models.layers import Conv, dense, leaky_relu
from t2igan.models.stackgan import resolution_steps
from t2igan.models.text import Text, WordVectors, word_mask
from t2igan.models.text_encoders import TextEncoder

_SMALLEST = 4


def widths(image_size: int, dim: int, most: int = 8) -> list[int]:
    """Returns channels from 4x4 up to the full size: dim at the end, at most `most` * dim."""
    steps = resolution_steps(image_size)
    return [dim * min(1 << step, most) for step in range(steps, -1, -1)]


class Affine(nn.Module):
    """Returns x [B, H, W, C] scaled and shifted by what a condition [B, K] says of each channel.

    Starts as the identity.
    """

    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, condition: jax.Array) -> jax.Array:
        change = nn.Dense(
            2 * x.shape[-1], kernel_init=nn.initializers.normal(0.02), dtype=self.dtype
        )(condition)
        scale, shift = jnp.split(change[:, None, None, :], 2, axis=-1)
        return x * (1.0 + scale) + shift


class UpBlock(nn.Module):
    """Returns [B, 2H, 2W, features] of x [B, H, W, C] and a condition [B, K]."""

    features: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, condition: jax.Array) -> jax.Array:
        shortcut = x
        if x.shape[-1] != self.features:
            shortcut = Conv(self.features, 1, dtype=self.dtype, name="shortcut")(x)
        y = self._modulate(x, condition)
        y = Conv(self.features, 3, upsample=True, use_bias=True, dtype=self.dtype)(y)
        y = self._modulate(y, condition)
        y = Conv(self.features, 3, use_bias=True, dtype=self.dtype)(y)
        return upsample_nearest(shortcut) + y

    def _modulate(self, x: jax.Array, condition: jax.Array) -> jax.Array:
        for _ in range(2):
            x = leaky_relu(Affine(self.dtype)(x, condition))
        return x


class Generator(nn.Module):
    """Returns {"image" [B, S, S, 3]}, about -1 to 1; what is beyond is cut off when it is shown.

    Not squashed into the range as DF-GAN does: tanh has no gradient at its ends, and an image of
    flat white or black lies there.

    Attributes:
      image_size: S, 4 times a power of two.
      gf_dim: channels at full size; they double downwards, to 8 * gf_dim at most.
      text_dim: width of the encoded caption.
      text_encoder: see `TextEncoder`.
      dtype: of the computation; parameters and the image are float32.
    """

    image_size: int = 64
    gf_dim: int = 32
    text_dim: int = 128
    text_encoder: str = "attention"
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, text: Text, noise: Mapping[str, jax.Array], *, train: bool
    ) -> dict[str, jax.Array]:
        """generates one image a caption.

        Args:
          text: {"codes": int32 [B, L]}, and "sentence" [B, E] for a text encoder that reads it.
          noise: {"z": [B, z_dim]}, standard normal.
          train: of no effect: there is neither norm nor dropout.
        """
        vectors = WordVectors(self.dtype, name="words")(text)
        encoder = TextEncoder(self.text_encoder, self.text_dim, dtype=self.dtype, name="text")
        embedding = encoder(vectors, word_mask(text), text.get("sentence"))
        z = noise["z"].astype(self.dtype)
        condition = jnp.concatenate([embedding, z], axis=-1)
        condition = leaky_relu(dense(self.text_dim, self.dtype, name="condition")(condition))
        channels = widths(self.image_size, self.gf_dim)
        x = dense(_SMALLEST * _SMALLEST * channels[0], self.dtype, name="start")(z)
        x = x.reshape(x.shape[0], _SMALLEST, _SMALLEST, channels[0])
        for width in channels[1:]:
            x = UpBlock(width, self.dtype)(x, condition)
        image = Conv(3, 3, use_bias=True, dtype=self.dtype, name="image")(leaky_relu(x))
        return {"image": image.astype(jnp.float32)}


class DownBlock(nn.Module):
    """Returns [B, H/2, W/2, features] of x [B, H, W, C]; the residual branch starts at nought."""

    features: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shortcut = nn.avg_pool(x, (2, 2), (2, 2))
        if x.shape[-1] != self.features:
            shortcut = Conv(self.features, 1, use_bias=True, dtype=self.dtype, name="shortcut")(
                shortcut
            )
        y = leaky_relu(Conv(self.features, 4, stride=2, dtype=self.dtype)(x))
        y = leaky_relu(Conv(self.features, 3, dtype=self.dtype)(y))
        gain = self.param("gain", nn.initializers.zeros_init(), ())
        return shortcut + gain.astype(self.dtype) * y


class Discriminator(nn.Module):
    """Returns [B] logits: is this a real image, and does it show what its caption says?

    Attributes:
      image_size: S, 4 times a power of two.
      df_dim: channels at full size; they double downwards, to 8 * df_dim at most.
      text_dim: width of the encoded caption.
      text_encoder: see `TextEncoder`.
      head: "concat", text tiled beside the features and convolved with them (DF-GAN); or
        "projection", an inner product of image and text (Miyato and Koyama, arXiv:1802.05637).
      dtype: of the computation; parameters and logits are float32.
    """

    image_size: int = 64
    df_dim: int = 32
    text_dim: int = 128
    text_encoder: str = "attention"
    head: str = "concat"
    dtype: jnp.dtype = jnp.float32

    def setup(self) -> None:
        channels = widths(self.image_size, self.df_dim)[::-1]
        self.stem = Conv(channels[0], 3, use_bias=True, dtype=self.dtype)
        self.blocks = [DownBlock(width, self.dtype) for width in channels[1:]]
        self.words = WordVectors(self.dtype)
        self.text = TextEncoder(self.text_encoder, self.text_dim, dtype=self.dtype)
        if self.head == "concat":
            self.joint = Conv(2 * self.df_dim, 3, dtype=self.dtype)
        elif self.head == "projection":
            self.projected = dense(self.text_dim, self.dtype)
        else:
            raise ValueError(f"discriminator head {self.head!r}: must be concat or projection")
        self.logit = dense(1, self.dtype)
        self.image_embedding = dense(self.text_dim, self.dtype)

    def __call__(self, image: jax.Array, text: Text, *, train: bool) -> jax.Array:
        """Judges image [B, S, S, 3] in [-1, 1] with text {"codes": int32 [B, L]}."""
        features = self.image_features(image, train=train)
        self.embed_image(features, train=train)  # so that its parameters are made
        return self.judge(features, self.encode(text, train=train), train=train)

    def image_features(self, image: jax.Array, *, train: bool) -> jax.Array:
        """Returns [B, 4, 4, C]: all that the judgment needs of the image."""
        x = self.stem(image.astype(self.dtype))
        for block in self.blocks:
            x = block(x)
        return x

    def encode(self, text: Text, *, train: bool) -> jax.Array:
        """Returns [B, text_dim]: all that the judgment needs of the caption."""
        return self.text(self.words(text), word_mask(text), text.get("sentence"))

    def judge(self, features: jax.Array, embedding: jax.Array, *, train: bool) -> jax.Array:
        """Returns [B] logits of image features with an encoded caption each."""
        if self.head == "projection":
            pooled = _pooled(features)
            matched = jnp.sum(self.projected(pooled) * embedding, axis=-1)
            return (self.logit(pooled)[:, 0] + matched).astype(jnp.float32)
        tiled = jnp.broadcast_to(
            embedding[:, None, None, :], (*features.shape[:3], embedding.shape[-1])
        )
        x = leaky_relu(self.joint(jnp.concatenate([features, tiled], axis=-1)))
        return self.logit(x.reshape(x.shape[0], -1))[:, 0].astype(jnp.float32)

    def embed_image(self, features: jax.Array, *, train: bool) -> jax.Array:
        """Returns float32 [B, text_dim]: the image where its caption's encoding should be."""
        return self.image_embedding(_pooled(features)).astype(jnp.float32)


def _pooled(features: jax.Array) -> jax.Array:
    """Returns [B, C]: features summed over places, as far as they are positive."""
    return leaky_relu(features).mean(axis=(1, 2))
