"""DINOv2: vision transformers that learned without labels, as FD-DINOv2 reads images.

References: Oquab et al., arXiv:2304.07193; Stein et al., arXiv:2306.04675 (FD-DINOv2), whose code
gives the resize (github.com/layer6ai-labs/dgm-eval). Weights under the names of transformers'
`Dinov2Model`: model.safetensors of facebook/dinov2-small, -base and -large.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from input_pipeline.errors import UserError
from t2igan.backbones.transformer import (
    Layer,
    along,
    attention,
    dense,
    in_full_precision,
    layer_norm,
    patches,
    scaled,
    stacked,
    through,
    without_prefix,
)
from t2igan.backbones.weight_files import Arrays, Shapes

SIZE = 224
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
EPSILON = 1e-6
HEAD_WIDTH = 64
# By width and layers.
NAMES = {(384, 12): "dinov2_vits14", (768, 12): "dinov2_vitb14", (1024, 24): "dinov2_vitl14"}
_PREFIX = "dinov2."  # of models with a head
_TABLE = "embeddings.position_embeddings"
_KERNEL = "embeddings.patch_embeddings.projection"

Params = dict[str, Any]


def name_of(shapes: Shapes) -> str | None:
    """Returns which of `NAMES` an unread file holds; None where it is something else."""
    shapes = {name.removeprefix(_PREFIX): shape for name, shape in shapes.items()}
    layers = sum(name.endswith(".layer_scale1.lambda1") for name in shapes)
    table = shapes.get(_TABLE, (0,))
    return NAMES.get((table[-1], layers))


def params_from(arrays: Arrays) -> Params:
    """Returns the network's parameters, its table of places resized to 16 x 16.

    Args:
      arrays: under the names of transformers' `Dinov2Model`.

    Raises:
      UserError: an array is missing.
    """
    arrays = without_prefix(arrays, _PREFIX) or arrays
    try:
        kernel = arrays[_KERNEL + ".weight"]
        table = arrays[_TABLE][0]
        params = {
            "class": arrays["embeddings.cls_token"][0] + table[:1],
            "places": resized_places(table[1:], SIZE // kernel.shape[-1]),
            "patches.weight": kernel,
            "patches.bias": arrays[_KERNEL + ".bias"],
            "norm.weight": arrays["layernorm.weight"],
            "norm.bias": arrays["layernorm.bias"],
        }
    except LookupError as error:
        raise UserError(f"no DINOv2 weights under transformers' names: {error}") from error
    return params | {"layers": stacked(arrays, "encoder.layer")}


@in_full_precision
def features(params: Params, images: jax.Array) -> jax.Array:
    """Returns [B, width], the class token after the last norm, of uint8 [B, 224, 224, 3]."""
    x = scaled(images, MEAN, DEVIATION)
    x = patches(x, params["patches.weight"])
    x = x + along(params["patches.bias"], x) + jnp.asarray(params["places"])[None]
    first = jnp.broadcast_to(jnp.asarray(params["class"])[None], (len(x), 1, x.shape[-1]))
    x = through(params["layers"], _block, jnp.concatenate([first, x], axis=1))
    return layer_norm(x[:, 0], params, "norm", EPSILON)


def _block(x: jax.Array, layer: Layer) -> jax.Array:
    normed = layer_norm(x, layer, "norm1", EPSILON)
    q, k, v = (dense(normed, layer, f"attention.attention.{part}") for part in _QKV)
    heads = x.shape[-1] // HEAD_WIDTH or 1
    scale = (x.shape[-1] // heads) ** -0.5
    mixed = attention(q, k, v, heads=heads, scale=scale, bias=None)
    scaled_by = along(layer["layer_scale1.lambda1"], x)
    x = x + scaled_by * dense(mixed, layer, "attention.output.dense")
    hidden = dense(layer_norm(x, layer, "norm2", EPSILON), layer, "mlp.fc1")
    hidden = dense(jax.nn.gelu(hidden, approximate=False), layer, "mlp.fc2")
    return x + along(layer["layer_scale2.lambda1"], x) * hidden


_QKV = ("query", "key", "value")


def resized_places(table: np.ndarray, side: int) -> np.ndarray:
    """Returns [side^2, width] of a [n^2, width] table of places, as DINOv2's own code resizes it.

    Bicubic (a = -0.75), without antialiasing, borders repeated; the scale is (side + 0.1) / n, so
    that a product of floats is not rounded down to side - 1. transformers takes side / n instead.
    """
    count = round(len(table) ** 0.5)
    if count == side:
        return table
    weights = _bicubic(count, side, (side + 0.1) / count)
    grid = table.reshape(count, count, -1).astype(np.float64)
    out = np.einsum("ai,bj,ijw->abw", weights, weights, grid)
    return out.reshape(side * side, -1).astype(np.float32)


def _bicubic(size: int, wanted: int, scale: float) -> np.ndarray:
    """[wanted, size] weights of each old place in each new one (Keys 1981, a = -0.75)."""
    a = -0.75
    centers = (np.arange(wanted) + 0.5) / scale - 0.5
    weights = np.zeros((wanted, size))
    for offset in (-1, 0, 1, 2):
        at = np.floor(centers) + offset
        x = np.abs(centers - at)
        near = ((a + 2) * x - (a + 3)) * x * x + 1
        far = ((x - 5) * x + 8) * x * a - 4 * a
        columns = np.clip(at, 0, size - 1).astype(int)
        np.add.at(weights, (np.arange(wanted), columns), np.where(x <= 1, near, far))
    return weights
