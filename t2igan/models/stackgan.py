"""The first stage of StackGAN: 10,878,656 and 3,097,601 parameters.

Reference: StackGAN, section 3.2, arXiv:1612.03242. The widths halve (generator) and double
(discriminator) with the resolution, so that other image sizes than 64 work too.
"""

from __future__ import annotations

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from t2igan.models.conditioning_augmentation import ConditioningAugmentation
from t2igan.models.layers import Conv, batch_norm, dense, glorot_uniform, leaky_relu
from t2igan.models.text import Text, WordVectors, flatten

_SMALLEST = 4  # pixels: where the generator starts and the discriminator ends


def resolution_steps(image_size: int) -> int:
    """Returns how often 4 is doubled to give `image_size`.

    Raises:
      ValueError: image_size is not 8, 16, 32, ...
    """
    steps = (image_size // _SMALLEST).bit_length() - 1
    if steps < 1 or _SMALLEST << steps != image_size:
        raise ValueError(f"image_size {image_size}: must be 8, 16, 32, 64, 128, ...")
    return steps


class Generator(nn.Module):
    """Returns {"image" [B, S, S, 3] in [-1, 1], "mu", "log_sigma" [B, cond_dim]}.

    Attributes:
      image_size: S, 4 times a power of two.
      gf_dim: width; the first feature map has 8 * gf_dim channels.
      cond_dim: width of the augmented condition.
      dtype: of the computation; parameters, statistics and the image are float32.
      axis_name: mapped axis for batch statistics over all replicas, or None.
    """

    image_size: int = 64
    gf_dim: int = 128
    cond_dim: int = 128
    dtype: jnp.dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, text: Text, noise: Mapping[str, jax.Array], *, train: bool
    ) -> dict[str, jax.Array]:
        """generates one image a caption.

        Args:
          text: {"codes": int32 [B, L]}.
          noise: {"z": [B, z_dim], "eps": [B, cond_dim]}, standard normal.
          train: batch statistics instead of running ones.
        """
        embedding = flatten(WordVectors(self.dtype, name="words")(text))
        c, mu, log_sigma = ConditioningAugmentation(self.cond_dim, self.dtype, name="conditioning")(
            embedding, noise["eps"]
        )
        x = jnp.concatenate([c, noise["z"]], axis=-1)
        width = 8 * self.gf_dim
        x = nn.relu(dense(_SMALLEST * _SMALLEST * width, self.dtype, use_bias=False)(x))
        x = x.reshape(x.shape[0], _SMALLEST, _SMALLEST, width)
        for step in range(1, resolution_steps(self.image_size) + 1):
            x = Conv(width >> step, 3, upsample=True, dtype=self.dtype)(x)
            x = batch_norm(self.axis_name, self.dtype)(x, use_running_average=not train)
            x = nn.relu(x)
        image = jnp.tanh(Conv(3, 3, dtype=self.dtype)(x).astype(jnp.float32))
        return {"image": image, "mu": mu, "log_sigma": log_sigma}


class JointConv(nn.Module):
    """A 1x1 convolution of [image, text tiled over every place], in its two exact halves.

    The image's half does not depend on the caption and the text's half not on the place: each
    is computed once and their sum is the convolution of the concatenation.

    Attributes:
      features: channels out.
      image_dim: channels of the image's feature map.
      text_dim: width of the text.
      dtype: of the computation.
    """

    features: int
    image_dim: int
    text_dim: int
    dtype: jnp.dtype = jnp.float32

    def setup(self) -> None:
        shape = (1, 1, self.image_dim + self.text_dim, self.features)
        self.kernel = self.param("kernel", glorot_uniform, shape, jnp.float32)
        self.bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))

    def image_part(self, x: jax.Array) -> jax.Array:
        """Returns [B, H, W, features] of x [B, H, W, image_dim]."""
        return x @ self.kernel[0, 0, : self.image_dim].astype(self.dtype)

    def text_part(self, embedding: jax.Array) -> jax.Array:
        """Returns [B, 1, 1, features] of embedding [B, text_dim], the bias with it."""
        kernel = self.kernel[0, 0, self.image_dim :].astype(self.dtype)
        text = embedding @ kernel + self.bias.astype(self.dtype)[None, :]
        return text[:, None, None, :]


class Discriminator(nn.Module):
    """Returns [B] logits: is this a real image, and does it show what its caption says?

    Attributes:
      image_size: S, 4 times a power of two.
      df_dim: width; the last feature map has 8 * df_dim channels at 64 pixels.
      text_dim: width the caption is compressed to.
      train_text_compressor: False leaves the compression the random projection it starts as.
      dtype: of the computation; parameters, statistics and logits are float32.
      axis_name: mapped axis for batch statistics over all replicas, or None.
    """

    image_size: int = 64
    df_dim: int = 64
    text_dim: int = 128
    train_text_compressor: bool = True
    dtype: jnp.dtype = jnp.float32
    axis_name: str | None = None

    def setup(self) -> None:
        steps = resolution_steps(self.image_size)
        widths = [self.df_dim << step for step in range(steps)]
        self.convs = [Conv(width, 4, stride=2, dtype=self.dtype) for width in widths]
        self.norms = [batch_norm(self.axis_name, self.dtype) for _ in widths[1:]]
        self.words = WordVectors(self.dtype)
        self.text_compressor = dense(self.text_dim, self.dtype)
        self.joint = JointConv(widths[-1], widths[-1], self.text_dim, self.dtype)
        self.joint_norm = batch_norm(self.axis_name, self.dtype)
        self.logit = dense(1, self.dtype)

    def __call__(self, image: jax.Array, text: Text, *, train: bool) -> jax.Array:
        """Judges image [B, S, S, 3] in [-1, 1] with text {"codes": int32 [B, L]}."""
        return self.judge(self.image_features(image, train=train), text, train=train)

    def image_features(self, image: jax.Array, *, train: bool) -> jax.Array:
        """Returns [B, 4, 4, C]: all that the judgment needs of the image, whatever the caption."""
        x = leaky_relu(self.convs[0](image))
        for conv, norm in zip(self.convs[1:], self.norms, strict=True):
            x = leaky_relu(norm(conv(x), use_running_average=not train))
        return self.joint.image_part(x)

    def judge(self, features: jax.Array, text: Text, *, train: bool) -> jax.Array:
        """Returns [B] logits of image features [B, 4, 4, C] with a caption each."""
        embedding = nn.relu(self.text_compressor(flatten(self.words(text))))
        if not self.train_text_compressor:
            embedding = jax.lax.stop_gradient(embedding)
        x = features + self.joint.text_part(embedding)
        x = leaky_relu(self.joint_norm(x, use_running_average=not train))
        logit = self.logit(x.reshape(x.shape[0], -1))
        return logit[:, 0].astype(jnp.float32)
