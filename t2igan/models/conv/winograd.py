"""4x4 convolutions of stride 2 with 9 products in place of 16, after Winograd.

Seen in blocks of 2x2 pixels, such a convolution is a 2x2 one of stride 1. Along one axis, two
neighboring outputs of it need three products instead of four, because

    a * k0 + b * k1 = (a - b) * k0 + b * (k0 + k1)
    b * k0 + c * k1 = b * (k0 + k1) + (c - b) * k1

and along both axes nine instead of sixteen. Only sums and differences of neighbors are taken,
so the rounding stays that of the plain form. All nine are one batched matrix product, and so are
both gradients.

The rearrangements are linear, and each is told its adjoint, as in matmul_forms.py.

Reference: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, section 4,
arXiv:1509.09308 (there for 3x3 kernels).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax


def conv4_stride2(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Returns a "same" convolution of stride 2 by tiles of 2x2 outputs.

    Args:
      x: [B, H, W, I], H and W divisible by 4.
      kernel: [4, 4, I, O].

    Returns:
      [B, H / 2, W / 2, O].
    """
    channels, features = kernel.shape[2:]
    # The differences too would be rounded in bfloat16, and it is no faster where this is used.
    exact = jnp.promote_types(x.dtype, jnp.float32)
    taken = take_tiles(x.astype(exact))
    products = lax.dot_general(
        taken.reshape(9, -1, 4 * channels),
        _sum_kernel(kernel.astype(exact)).reshape(9, 4 * channels, features),
        (((2,), (1,)), ((0,), (0,))),
    )
    return merge_tiles(products.reshape(*taken.shape[:-1], features)).astype(x.dtype)


def _sum_kernel(kernel: jax.Array) -> jax.Array:
    """Returns [3, 3, 4 * I, O]: the kernel's blocks k0, k0 + k1, k1, along both axes."""
    channels, features = kernel.shape[2:]
    blocks = kernel.reshape(2, 2, 2, 2, channels, features)  # block, row in it, block, column
    rows = _spread(blocks[0], blocks[1], 0)
    return _spread(rows[:, :, 0], rows[:, :, 1], 1).reshape(3, 3, 4 * channels, features)


def _spread(first: jax.Array, second: jax.Array, axis: int) -> jax.Array:
    return jnp.stack([first, first + second, second], axis)


@jax.custom_vjp
def take_tiles(x: jax.Array) -> jax.Array:
    """Returns [3, 3, B, H / 4, W / 4, 4 * C]: a - b, b, c - b of each tile, along both axes.

    Args:
      x: [B, H, W, C].
    """
    batch, height, width, channels = x.shape
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    x = x.reshape(batch, height // 2 + 1, 2, width // 2 + 1, 2 * channels)
    parts = jnp.stack([jnp.stack(_differences(rows, 3)) for rows in _differences(x, 1)])
    parts = parts.transpose(0, 1, 2, 3, 5, 4, 6)  # both rows of a block beside each other
    return parts.reshape(3, 3, batch, height // 4, width // 4, 4 * channels)


@jax.custom_vjp
def return_tiles(parts: jax.Array) -> jax.Array:
    """Returns the adjoint of `take_tiles`: [3, 3, B, H, W, 4 * C] -> [B, 4 * H, 4 * W, C]."""
    _, _, batch, height, width, channels = parts.shape
    parts = parts.reshape(3, 3, batch, height, width, 2, channels // 2)
    parts = parts.transpose(0, 1, 2, 3, 5, 4, 6)
    x = _add_differences([_add_differences(rows, 3) for rows in parts], 1)
    x = x.reshape(batch, 4 * height + 2, 4 * width + 2, channels // 4)
    return x[:, 1:-1, 1:-1]


def _differences(x: jax.Array, axis: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """a - b, b and c - b of x[2m], x[2m + 1], x[2m + 2]: [.., 2n + 1, ..] -> three [.., n, ..]."""
    tiles = x.shape[axis] // 2

    def pairs(start: int) -> tuple[jax.Array, jax.Array]:
        part = lax.slice_in_dim(x, start, start + 2 * tiles, axis=axis)
        part = part.reshape(*x.shape[:axis], tiles, 2, *x.shape[axis + 1 :])
        return tuple(lax.index_in_dim(part, side, axis + 1, keepdims=False) for side in (0, 1))

    (a, b), (_, c) = pairs(0), pairs(1)
    return a - b, b, c - b


def _add_differences(parts: Sequence[jax.Array], axis: int) -> jax.Array:
    """The adjoint of `_differences`: three [.., n, ..] -> [.., 2n + 1, ..]."""
    first, middle, last = parts

    def pad(x: jax.Array, before: int) -> jax.Array:
        widths = [(0, 0)] * x.ndim
        widths[axis] = (before, 1 - before)
        return jnp.pad(x, widths)

    even = pad(first, 0) + pad(last, 1)
    odd = pad(middle - first - last, 0)
    x = jnp.stack([even, odd], axis + 1)
    x = x.reshape(*x.shape[:axis], -1, *x.shape[axis + 2 :])
    return lax.slice_in_dim(x, 0, x.shape[axis] - 1, axis=axis)


@jax.custom_vjp
def merge_tiles(products: jax.Array) -> jax.Array:
    """Returns [B, 2 * H, 2 * W, O]: the products [3, 3, B, H, W, O] of each tile added up."""
    _, _, batch, height, width, features = products.shape
    rows = products[:2] + products[1:]
    tiles = rows[:, :2] + rows[:, 1:]
    # Not a transpose of `tiles`: it would be the slower by far.
    outputs = jnp.stack([jnp.stack(list(row), axis=3) for row in tiles], axis=2)
    return outputs.reshape(batch, 2 * height, 2 * width, features)


@jax.custom_vjp
def split_tiles(outputs: jax.Array) -> jax.Array:
    """Returns the adjoint of `merge_tiles`: [B, 2 * H, 2 * W, O] -> [3, 3, B, H, W, O]."""
    batch, height, width, features = outputs.shape
    x = outputs.reshape(batch, height // 2, 2, width // 2, 2, features)
    rows = _spread(x[:, :, 0], x[:, :, 1], 0)
    return _spread(rows[..., 0, :], rows[..., 1, :], 1)


def _adjoint(function: Callable, other: Callable) -> None:
    function.defvjp(lambda x: (function(x), None), lambda _, g: (other(g),))


for _pair in ((take_tiles, return_tiles), (merge_tiles, split_tiles)):
    _adjoint(*_pair)
    _adjoint(*_pair[::-1])
