"""Convolutions as one matrix product each.

A convolution multiplies pixels with kernel taps and adds up what falls on one place. Either the
pixels are gathered first (`windows`) and one product multiplies and adds, or one product
multiplies every pixel with every tap and the results are added up where they fall
(`overlap_add`). Both directions of differentiation are then matrix products too, which run near
the machine's peak where convolutions' gradients do not.

Upsampling makes the second way much cheaper than its definition: a pixel and its three copies
are multiplied with the taps once, not four times. 4 times less arithmetic than the plain form,
forward and in both gradients, with no transformation of the kernel and none of the rounding
that comes with one.

The rearrangements are linear, and each is the other's adjoint; they are told so, because the
adjoints JAX derives by itself are several times slower. Only reverse mode, any number of times.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

# For each phase of the output pixels (their index modulo the number of phases) the taps that
# contribute to it, each with how far its product moves: (tap, shift).
Phases = Sequence[Sequence[tuple[int, int]]]

_UPSAMPLED: Phases = (((0, 1), (1, 0), (2, 0)), ((0, 0), (1, 0), (2, -1)))


def upsample_conv3(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Nearest upsampling by 2, then a 3x3 convolution: multiplied first, upsampled after.

    Args:
      x: [B, H, W, I].
      kernel: [3, 3, I, O].

    Returns:
      [B, 2H, 2W, O].
    """
    return add_upsampled(_products(x, kernel)).astype(x.dtype)


def conv_by_windows(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """Returns a "same" convolution: windows gathered, then one product. Best where I is small
    beside O.

    Args:
      x: [B, H, W, I], H and W divisible by the stride.
      kernel: [k, k, I, O], k a multiple of the stride, k - stride even.
      stride: of the windows.

    Returns:
      [B, H / stride, W / stride, O].
    """
    size, features = kernel.shape[0], kernel.shape[-1]
    gathered = windows(x, size, stride)
    taps = kernel.reshape(-1, features)
    return (gathered.reshape(-1, len(taps)) @ taps).reshape(*gathered.shape[:3], features)


def conv_by_taps(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Returns a "same" convolution of stride 1: one product, then added up. Best where O is small.

    Args:
      x: [B, H, W, I].
      kernel: [k, k, I, O], k odd.

    Returns:
      [B, H, W, O].
    """
    # What a pixel gives to its neighbors is what they take from it: taps in reverse order.
    products = _products(x, kernel[::-1, ::-1])
    return overlap_add(products, kernel.shape[0], 1).astype(x.dtype)


def _products(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Returns [B, H, W, k, k, O], float32 for the sums to come: every pixel times every tap."""
    size, _, channels, features = kernel.shape
    exact = jnp.promote_types(x.dtype, jnp.float32)
    taps = kernel.astype(exact).transpose(2, 0, 1, 3).reshape(channels, -1)
    # Two axes, not four: else the kernel's gradient begins by transposing all products.
    products = x.astype(exact).reshape(-1, channels) @ taps
    return products.reshape(*x.shape[:3], size, size, features)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def windows(x: jax.Array, size: int, stride: int) -> jax.Array:
    """Returns [B, H / stride, W / stride, size, size, C]: the zero-padded window of each place.

    Args:
      x: [B, H, W, C], H and W divisible by the stride.
      size: of a window, a multiple of the stride; size - stride even.
      stride: between windows.
    """
    batch, height, width, channels = x.shape
    rows, columns, steps = height // stride, width // stride, size // stride
    padding = (size - stride) // 2
    x = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    # In blocks of stride x stride pixels a window is steps x steps blocks, and neighboring
    # columns of a block lie side by side in memory.
    blocks = x.reshape(batch, rows + steps - 1, stride, columns + steps - 1, stride * channels)
    parts = [
        blocks[:, down : down + rows, row, across : across + columns]
        for down in range(steps)
        for row in range(stride)
        for across in range(steps)
    ]
    return jnp.stack(parts, axis=3).reshape(batch, rows, columns, size, size, channels)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def overlap_add(y: jax.Array, size: int, stride: int) -> jax.Array:
    """Returns the adjoint of `windows`: adds windows up where they overlap.

    Args:
      y: [B, H, W, size, size, C].
      size: of a window.
      stride: between windows.

    Returns:
      [B, stride * H, stride * W, C].
    """
    padding = (size - stride) // 2
    phases = [
        [
            (tap, (tap - phase - padding) // stride)
            for tap in range(size)
            if (tap - phase - padding) % stride == 0
        ]
        for phase in range(stride)
    ]
    return _add_taps(y, phases)


windows.defvjp(
    lambda x, size, stride: (windows(x, size, stride), None),
    lambda size, stride, _, g: (overlap_add(g, size, stride),),
)
overlap_add.defvjp(
    lambda y, size, stride: (overlap_add(y, size, stride), None),
    lambda size, stride, _, g: (windows(g, size, stride),),
)


@jax.custom_vjp
def add_upsampled(y: jax.Array) -> jax.Array:
    """Returns [B, 2H, 2W, O]: products [B, H, W, 3, 3, O] added up in the upsampled image."""
    return _add_taps(y, _UPSAMPLED)


@jax.custom_vjp
def box_sums(g: jax.Array) -> jax.Array:
    """Returns the adjoint of `add_upsampled`: [B, 2H, 2W, O] -> [B, H, W, 3, 3, O].

    A pixel's product with a tap went to its four copies, moved by the tap: a 2x2 box.
    """
    batch, height, width, features = g.shape
    g = jnp.pad(g, ((0, 0), (1, 1), (1, 1), (0, 0)))

    def corner(row: int, column: int) -> jax.Array:
        limits = (batch, row + height - 1, column + width - 1, features)
        return lax.slice(g, (0, row, column, 0), limits, (1, 2, 2, 1))

    def box(row: int, column: int) -> jax.Array:
        upper = corner(row, column) + corner(row, column + 1)
        return upper + corner(row + 1, column) + corner(row + 1, column + 1)

    firsts = (2, 1, 0)  # of a tap's box, in the padded image
    return jnp.stack([jnp.stack([box(a, b) for b in firsts], axis=3) for a in firsts], axis=3)


add_upsampled.defvjp(lambda y: (add_upsampled(y), None), lambda _, g: (box_sums(g),))
box_sums.defvjp(lambda g: (box_sums(g), None), lambda _, y: (add_upsampled(y),))


def _add_taps(y: jax.Array, phases: Phases) -> jax.Array:
    """Returns [B, P * H, P * W, C] of y [B, H, W, T, T, C]: taps moved and added, by phase."""
    batch, height, width, _, _, channels = y.shape
    y = jnp.stack([sum(_shift(y[..., tap, :], 2, by) for tap, by in row) for row in phases], 3)
    y = jnp.stack([sum(_shift(y[..., tap, :], 1, by) for tap, by in row) for row in phases], 2)
    return y.reshape(batch, height * len(phases), width * len(phases), channels)


def _shift(x: jax.Array, axis: int, by: int) -> jax.Array:
    """Returns x moved on by `by` places along the axis, zeros moving in."""
    if by == 0:
        return x
    size = x.shape[axis]
    widths = [(0, 0)] * x.ndim
    widths[axis] = (max(by, 0), max(-by, 0))
    return lax.slice_in_dim(jnp.pad(x, widths), max(-by, 0), max(-by, 0) + size, axis=axis)
