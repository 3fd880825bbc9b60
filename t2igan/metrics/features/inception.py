"""Inception-v3 as FID means it: the network of the TensorFlow graph of 2015-12-05.

It differs from the Inception-v3 of the libraries: average pools leave their padding out of the
mean, the last block pools by maximum, there are 1,008 classes, and images are resized to 299 x
299 as TensorFlow 1 does it (bilinear, corners at the origin, no antialiasing).

References: Szegedy et al., arXiv:1512.00567; Heusel et al., arXiv:1706.08500, section 4 (FID);
the parameter names are those of torch-fidelity and pytorch-fid.
"""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from t2igan.backbones import inception_weights
from t2igan.metrics.features.network import FeatureNetwork

NAME = "inception"
SIZE = 299
DIM = 2048
EPSILON = 1e-3
RESIZE = "bilinear 299 as TensorFlow 1"

Params = dict[str, dict[str, np.ndarray]]


def params_from(state: dict[str, np.ndarray]) -> Params:
    """Kernels in HWIO order with batch norm folded in, by layer name.

    Args:
      state: the checkpoint's arrays under PyTorch's names.
    """
    layers = [name[: -len(".conv.weight")] for name in state if name.endswith(".conv.weight")]
    params = {layer: _folded(state, layer) for layer in layers}
    params["fc"] = {"kernel": state["fc.weight"].T}
    return params


def _folded(state: dict[str, np.ndarray], layer: str) -> dict[str, np.ndarray]:
    """The convolution that does what a convolution and its batch norm do, computed in float64."""
    norm = layer + ".bn."
    deviation = np.sqrt(state[norm + "running_var"].astype(np.float64) + EPSILON)
    scale = state[norm + "weight"] / deviation
    bias = state[norm + "bias"] - state[norm + "running_mean"] * scale
    kernel = state[layer + ".conv.weight"].astype(np.float64) * scale[:, None, None, None]
    kernel = np.transpose(kernel, (2, 3, 1, 0))
    return {"kernel": kernel.astype(np.float32), "bias": bias.astype(np.float32)}


class _Layers:
    """The layers under one prefix: `block("branch1x1", x)` is that convolution with its ReLU."""

    def __init__(self, params: Params, prefix: str = "") -> None:
        self.params, self.prefix = params, prefix

    def under(self, name: str) -> _Layers:
        return _Layers(self.params, f"{self.prefix}{name}.")

    def __call__(
        self, name: str, x: jax.Array, *, stride: int = 1, padding: str = "SAME"
    ) -> jax.Array:
        layer = self.params[self.prefix + name]
        y = lax.conv_general_dilated(
            x,
            layer["kernel"],
            (stride, stride),
            padding,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return jnp.maximum(y + layer["bias"][None, None, None], 0.0)

    def chain(self, names: str, x: jax.Array, stride: int = 1) -> jax.Array:
        """Convolutions one after another; the stride and no padding for the last one."""
        *first, last = names.split()
        for name in first:
            x = self(name, x)
        return self(last, x, stride=stride, padding="SAME" if stride == 1 else "VALID")


def _max_pool(x: jax.Array, stride: int, padding: str) -> jax.Array:
    window, strides = (1, 3, 3, 1), (1, stride, stride, 1)
    return lax.reduce_window(x, -jnp.inf, lax.max, window, strides, padding)


def _mean_pool(x: jax.Array) -> jax.Array:
    """3 x 3 means over the pixels that exist: the padding does not count."""
    window, strides = (1, 3, 3, 1), (1, 1, 1, 1)
    total = lax.reduce_window(x, 0.0, lax.add, window, strides, "SAME")
    ones = np.ones((1, *x.shape[1:3], 1), np.float32)
    count = lax.reduce_window(ones, 0.0, lax.add, window, strides, "SAME")
    return total / jnp.broadcast_to(count, total.shape)


def _join(*parts: jax.Array) -> jax.Array:
    return jnp.concatenate(parts, axis=-1)


def _block_a(block: _Layers, x: jax.Array) -> jax.Array:
    return _join(
        block("branch1x1", x),
        block.chain("branch5x5_1 branch5x5_2", x),
        block.chain("branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3", x),
        block("branch_pool", _mean_pool(x)),
    )


def _block_b(block: _Layers, x: jax.Array) -> jax.Array:
    return _join(
        block.chain("branch3x3", x, stride=2),
        block.chain("branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3", x, stride=2),
        _max_pool(x, 2, "VALID"),
    )


def _block_c(block: _Layers, x: jax.Array) -> jax.Array:
    return _join(
        block("branch1x1", x),
        block.chain("branch7x7_1 branch7x7_2 branch7x7_3", x),
        block.chain(" ".join(f"branch7x7dbl_{i}" for i in range(1, 6)), x),
        block("branch_pool", _mean_pool(x)),
    )


def _block_d(block: _Layers, x: jax.Array) -> jax.Array:
    return _join(
        block.chain("branch3x3_1 branch3x3_2", x, stride=2),
        block.chain("branch7x7x3_1 branch7x7x3_2 branch7x7x3_3 branch7x7x3_4", x, stride=2),
        _max_pool(x, 2, "VALID"),
    )


def _block_e(block: _Layers, x: jax.Array, pooled: jax.Array) -> jax.Array:
    three = block("branch3x3_1", x)
    double = block.chain("branch3x3dbl_1 branch3x3dbl_2", x)
    return _join(
        block("branch1x1", x),
        block("branch3x3_2a", three),
        block("branch3x3_2b", three),
        block("branch3x3dbl_3a", double),
        block("branch3x3dbl_3b", double),
        block("branch_pool", pooled),
    )


def resize(images: jax.Array) -> jax.Array:
    """Returns [B, 299, 299, 3] float images, as TensorFlow 1's `resize_bilinear` gives them.

    Pixel i of the result reads at i * size / 299: no half-pixel offset, no antialiasing.
    """
    x = images.astype(jnp.float32)
    for axis in (2, 1):
        size = x.shape[axis]
        at = np.arange(SIZE, dtype=np.float32) * np.float32(size / SIZE)
        low = at.astype(np.int32)
        high = np.minimum(low + 1, size - 1)
        share = (at - low).reshape([-1 if i == axis else 1 for i in range(4)])
        below, above = jnp.take(x, low, axis=axis), jnp.take(x, high, axis=axis)
        x = below + (above - below) * share
    return x


def features(params: Params, images: jax.Array) -> jax.Array:
    """Returns [B, 2048] pooled features of uint8 [B, H, W, 3] images."""
    net = _Layers(params)
    x = (resize(images) - 128.0) / 128.0
    x = net("Conv2d_1a_3x3", x, stride=2, padding="VALID")
    x = net("Conv2d_2a_3x3", x, padding="VALID")
    x = _max_pool(net("Conv2d_2b_3x3", x), 2, "VALID")
    x = net("Conv2d_4a_3x3", net("Conv2d_3b_1x1", x), padding="VALID")
    x = _max_pool(x, 2, "VALID")
    for name in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
        x = _block_a(net.under(name), x)
    x = _block_b(net.under("Mixed_6a"), x)
    for name in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
        x = _block_c(net.under(name), x)
    x = _block_d(net.under("Mixed_7a"), x)
    x = _block_e(net.under("Mixed_7b"), x, _mean_pool(x))
    x = _block_e(net.under("Mixed_7c"), x, _max_pool(x, 1, "SAME"))
    return jnp.mean(x, axis=(1, 2))


def logits(params: Params, features: np.ndarray) -> np.ndarray:
    """Returns [B, 1008] logits without the bias, as the Inception score takes them."""
    return features @ params["fc"]["kernel"]


def load(weights: str | Path | None = None) -> FeatureNetwork:
    """Returns the network with the weights of 2015-12-05.

    Args:
      weights: the `.pth` file or what scripts/weights/convert_inception.py made of it; looked for
        in the usual places by default.

    Raises:
      UserError: the file is missing, damaged, or not the published one.
    """
    state, digest = inception_weights.read(inception_weights.find(weights))
    return network(params_from(state), digest)


def network(params: Params, weights_sha256: str) -> FeatureNetwork:
    """Returns the network on given parameters."""
    return FeatureNetwork(
        name=NAME,
        dim=DIM,
        params=params,
        apply=features,
        classify=logits,
        provenance={"network": NAME, "weights_sha256": weights_sha256, "resize": RESIZE},
    )
