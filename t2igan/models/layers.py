"""Layers of the StackGAN baseline: zero padding, Glorot kernels, Keras' batch norm."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from t2igan.models.conv.functions import conv, upsample_conv3


def leaky_relu(x: jax.Array) -> jax.Array:
    """Returns x where positive, 0.2 * x elsewhere."""
    return nn.leaky_relu(x, 0.2)


def glorot_uniform(key: jax.Array, shape: Sequence[int], dtype: jnp.dtype) -> jax.Array:
    """Returns the very numbers of `nn.initializers.glorot_uniform()`, drawn in one row.

    XLA takes about eight times as long to compile a draw over four axes as over one, and start-up
    is mostly compiling.
    """
    row = jax.random.uniform(key, (math.prod(shape),), dtype, -1.0)
    fan_in, fan_out = (math.prod(shape[:-2]) * size for size in shape[-2:])
    return jnp.sqrt(6.0 / (fan_in + fan_out)).astype(dtype) * row.reshape(shape)


class Conv(nn.Module):
    """Returns a "same" convolution of [B, H, W, I]; after 2x nearest upsampling if asked.

    The kernel is kept as [k, k, I, O] whichever form computes it, so that parameter counts and
    checkpoints do not depend on the form.
    """

    features: int
    kernel_size: int
    stride: int = 1
    upsample: bool = False
    use_bias: bool = False
    kernel_init: Callable[..., jax.Array] = glorot_uniform
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
        x = upsample_conv3(x, kernel) if self.upsample else conv(x, kernel, self.stride)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
            x = x + bias.astype(self.dtype)[None, None, None, :]
        return x


def dense(features: int, dtype: jnp.dtype, use_bias: bool = True, name: str | None = None):
    """Returns a dense layer with Glorot-uniform kernel and zero bias."""
    return nn.Dense(
        features,
        use_bias=use_bias,
        kernel_init=glorot_uniform,
        dtype=dtype,
        name=name,
    )


def batch_norm(axis_name: str | None, dtype: jnp.dtype, name: str | None = None) -> nn.BatchNorm:
    """Returns batch norm with epsilon 1e-3 and momentum 0.99; call it with use_running_average.

    Args:
      axis_name: mapped axis over which a batch's statistics are taken, or None for each
        replica its own.
      dtype: of the result; statistics are float32 always.
      name: of the module.
    """
    return nn.BatchNorm(momentum=0.99, epsilon=1e-3, axis_name=axis_name, dtype=dtype, name=name)
