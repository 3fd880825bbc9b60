"""What the frozen transformers share: layers stacked for a scan, dense, norms, attention.

Weights keep PyTorch's names and orders, [out, in] for a dense layer. Everything is computed at
full float32 precision, on accelerators too: measures must not depend on the device.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from input_pipeline.errors import UserError
from t2igan.backbones.weight_files import Arrays

P = ParamSpec("P")
R = TypeVar("R")
Layer = dict[str, jax.Array]
Block = Callable[[jax.Array, Layer], jax.Array]


def stacked(arrays: Arrays, prefix: str) -> dict[str, np.ndarray]:
    """Returns [layers, ...] of each of a layer's arrays, by its name within the layer.

    Args:
      arrays: by PyTorch's names: `{prefix}.{layer}.{name}`.
      prefix: of the list of layers.

    Raises:
      UserError: a layer lacks an array, or has one of another shape than the first.
    """
    pattern = re.compile(re.escape(prefix) + r"\.(\d+)\.(.+)")
    found: dict[str, dict[int, np.ndarray]] = {}
    for name, array in arrays.items():
        if match := pattern.fullmatch(name):
            found.setdefault(match[2], {})[int(match[1])] = array
    layers = max((max(rows) for rows in found.values()), default=-1) + 1
    for name, rows in found.items():
        if sorted(rows) != list(range(layers)) or len({row.shape for row in rows.values()}) > 1:
            raise UserError(f"the weights {prefix}.*.{name} are not alike in {layers} layers")
    return {name: np.stack([rows[i] for i in range(layers)]) for name, rows in found.items()}


def through(layers: dict[str, jax.Array], block: Block, x: jax.Array) -> jax.Array:
    """Returns x after each layer of a stack; compiled once, however many there are."""
    return jax.lax.scan(lambda x, layer: (block(x, layer), None), x, layers)[0]


def in_full_precision(function: Callable[P, R]) -> Callable[P, R]:
    """Makes matrix products of a function full float32, where TPUs and GPUs would round."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with jax.default_matmul_precision("float32"):
            return function(*args, **kwargs)

    return wrapped


def along(row: jax.typing.ArrayLike, x: jax.Array) -> jax.Array:
    """Returns a row [C] as [1, ..., C], with as many axes as x."""
    return jnp.asarray(row).reshape((1,) * (x.ndim - 1) + (-1,))


def dense(x: jax.Array, layer: Layer, name: str) -> jax.Array:
    """Returns x W^T + b, [..., out]; without b where there is none."""
    out = x @ layer[f"{name}.weight"].T
    return out + along(layer[f"{name}.bias"], out) if f"{name}.bias" in layer else out


def layer_norm(x: jax.Array, layer: Layer, name: str, epsilon: float) -> jax.Array:
    """Returns x [..., width] with mean 0 and variance 1 over its width, scaled and shifted."""
    centered = x - x.mean(axis=-1, keepdims=True)
    variance = jnp.square(centered).mean(axis=-1, keepdims=True)
    normed = centered * jax.lax.rsqrt(variance + epsilon)
    return normed * along(layer[f"{name}.weight"], x) + along(layer[f"{name}.bias"], x)


def attention(
    q: jax.Array, k: jax.Array, v: jax.Array, *, heads: int, scale: float, bias: jax.Array | None
) -> jax.Array:
    """Returns [B, T, width] of softmax(scale q k^T + bias) v, head by head.

    Args:
      q: [B, T, width].
      k: [B, T, width].
      v: [B, T, width].
      heads: how many share the width.
      scale: of the products.
      bias: [1 or B, 1 or heads, 1 or T, T]; -inf where a place may not be looked at.
    """
    batch, length, width = q.shape
    q, k, v = (x.reshape(batch, length, heads, width // heads) for x in (q, k, v))
    scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) * scale
    if bias is not None:
        scores = scores + bias
    mixed = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores, axis=-1), v)
    return mixed.reshape(batch, length, width)


def scaled(images: jax.Array, mean: tuple[float, ...], deviation: tuple[float, ...]) -> jax.Array:
    """Returns uint8 [B, S, S, 3] images, divided by 255, less a mean and over a deviation."""
    x = jnp.asarray(images).astype(jnp.float32) / 255
    return (x - along(jnp.array(mean), x)) / along(jnp.array(deviation), x)


def patches(images: jax.Array, kernel: jax.Array) -> jax.Array:
    """Returns [B, (S/p)^2, width]: a convolution of stride and size p, as one matrix product.

    Args:
      images: [B, S, S, 3].
      kernel: [width, 3, p, p], PyTorch's order.
    """
    width, channels, size, _ = kernel.shape
    batch, side = images.shape[0], images.shape[1] // size
    x = images.reshape(batch, side, size, side, size, channels).transpose(0, 1, 3, 5, 2, 4)
    return x.reshape(batch, side * side, -1) @ kernel.reshape(width, -1).T


def without_prefix(arrays: Arrays, prefix: str) -> Arrays:
    """Returns the arrays whose names begin so, under the rest of their names."""
    return {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}
