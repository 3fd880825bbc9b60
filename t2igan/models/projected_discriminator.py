"""The projected discriminator: heads on the maps of a frozen ImageNet network.

What a photograph is made of takes a discriminator long to find out. By features that are known
already real and generated images are told apart at once; what is trained is small, and the
generator learns from many times fewer images. As in the paper, random 1x1 convolutions that are
never trained mix each map's channels, and coarser maps are added to finer ones, so that no head
can live on a few channels alone. Here each place of each map is judged together with the caption,
and the heads have neither batch norm nor spectral norm. They may be shown how much the images
of a step differ: a generator that draws few images, for whatever caption, is told by that.

Reference: Projected GANs, Sauer et al. 2021, sections 3.2 and 4, arXiv:2111.01007; how much
images differ, Karras et al. 2018, section 3, arXiv:1710.10196, in groups, as in their code.
"""

from __future__ import annotations

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from t2igan.backbones.feature_maps import feature_maps, map_sizes
from t2igan.models.conv.plain import upsample_nearest
from t2igan.models.layers import Conv, dense, leaky_relu
from t2igan.models.text import Text, WordVectors, word_mask
from t2igan.models.text_encoders import TextEncoder

_SMALLEST = 4  # pixels of a head's last map; fewer where its first has fewer


class FrozenMix(nn.Module):
    """Returns [B, H, W, features] of x [B, H, W, C]: a random 1x1 convolution, never trained."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape, jnp.float32)
        return x @ jax.lax.stop_gradient(kernel).astype(x.dtype)


def minibatch_stddev(x: jax.Array, size: int) -> jax.Array:
    """Returns [B, 1, 1, 1]: the deviation within its group of x [B, H, W, C], a mean over H, W, C.

    Args:
      x: features of images in the order of the batch.
      size: images of a group. Where it does not divide B, their greatest common divisor.
    """
    size = math.gcd(size, x.shape[0])
    groups = x.astype(jnp.float32).reshape(-1, size, *x.shape[1:])
    deviation = jnp.sqrt(jnp.var(groups, axis=1) + 1e-8)  # has a gradient where all are alike
    spread = jnp.repeat(deviation.mean(axis=(1, 2, 3)), size)
    return spread[:, None, None, None].astype(x.dtype)


class Head(nn.Module):
    """Looks at one map, and judges each place of what it makes of it with the caption.

    Attributes:
      size: pixels of the map; they are halved down to 4.
      features: channels.
      group: images among which it is shown how much they differ; 0: it is not.
      dtype: of the computation.
    """

    size: int
    features: int
    group: int = 0
    dtype: jnp.dtype = jnp.float32

    def setup(self) -> None:
        halvings = max(0, (self.size // _SMALLEST).bit_length() - 1)
        self.looks = [
            Conv(self.features, 4, stride=2, use_bias=True, dtype=self.dtype)
            for _ in range(halvings)
        ] or [Conv(self.features, 3, use_bias=True, dtype=self.dtype)]
        self.joint = dense(self.features, self.dtype)
        self.logit = dense(1, self.dtype)

    def look(self, x: jax.Array) -> jax.Array:
        """Returns [B, H, W, features], H and W at most 4, of a map [B, size, size, C].

        With a group the spread is one channel more.
        """
        for conv in self.looks:
            x = leaky_relu(conv(x))
        if not self.group:
            return x
        spread = jnp.broadcast_to(minibatch_stddev(x, self.group), (*x.shape[:3], 1))
        return jnp.concatenate([x, spread], axis=-1)

    def judge(self, x: jax.Array, embedding: jax.Array) -> jax.Array:
        """Returns [B, H * W] logits."""
        tiled = jnp.broadcast_to(embedding[:, None, None, :], (*x.shape[:3], embedding.shape[-1]))
        x = leaky_relu(self.joint(jnp.concatenate([x, tiled], axis=-1)))
        return self.logit(x).reshape(x.shape[0], -1).astype(jnp.float32)


class Discriminator(nn.Module):
    """Returns [B] mean logits: are these parts of a real image, and of what its caption says?

    Attributes:
      image_size: S, 4 times a power of two.
      df_dim: channels of a mixed map; the heads have twice as many.
      text_dim: width of the encoded caption.
      text_encoder: see `TextEncoder`.
      group: images among which the heads are shown how much they differ, see `minibatch_stddev`;
        0: they are not.
      dtype: of the computation; parameters and logits are float32.
    """

    image_size: int = 64
    df_dim: int = 32
    text_dim: int = 64
    text_encoder: str = "attention"
    group: int = 0
    dtype: jnp.dtype = jnp.float32

    def setup(self) -> None:
        sizes = map_sizes(self.image_size)
        self.mixes = [FrozenMix(self.df_dim) for _ in sizes]
        self.heads = [Head(size, 2 * self.df_dim, self.group, self.dtype) for size in sizes]
        self.words = WordVectors(self.dtype)
        self.text = TextEncoder(self.text_encoder, self.text_dim, dtype=self.dtype)
        self.image_embedding = dense(self.text_dim, self.dtype)

    def __call__(self, image: jax.Array, text: Text, *, train: bool) -> jax.Array:
        """Judges image [B, S, S, 3] in [-1, 1] with text {"codes": int32 [B, L]}."""
        features = self.image_features(image, train=train)
        self.embed_image(features, train=train)  # so that its parameters are made
        logits = self.judge(features, self.encode(text, train=train), train=train)
        return logits.mean(axis=1)

    def image_features(self, image: jax.Array, *, train: bool) -> list[jax.Array]:
        """Returns a map a head, and last the network's own coarsest one."""
        maps = feature_maps(image.astype(self.dtype))
        mixed = [mix(x) for mix, x in zip(self.mixes, maps, strict=True)]
        for finer in range(len(mixed) - 2, -1, -1):
            coarser = upsample_nearest(mixed[finer + 1])
            mixed[finer] = (mixed[finer] + coarser) / jnp.sqrt(2.0).astype(self.dtype)
        looked = [head.look(x) for head, x in zip(self.heads, mixed, strict=True)]
        return [*looked, maps[-1]]

    def encode(self, text: Text, *, train: bool) -> jax.Array:
        """Returns [B, text_dim]: all that the judgment needs of the caption."""
        return self.text(self.words(text), word_mask(text), text.get("sentence"))

    def judge(self, features: list[jax.Array], embedding: jax.Array, *, train: bool) -> jax.Array:
        """Returns [B, places] logits of image features with an encoded caption each."""
        looked = zip(self.heads, features[:-1], strict=True)
        return jnp.concatenate([head.judge(x, embedding) for head, x in looked], axis=1)

    def embed_image(self, features: list[jax.Array], *, train: bool) -> jax.Array:
        """Returns float32 [B, text_dim]: the image where its caption's encoding should be."""
        flat = [x.reshape(x.shape[0], -1) for x in features]
        return self.image_embedding(jnp.concatenate(flat, axis=1)).astype(jnp.float32)
