"""CLIP: images and texts in one space, for CMMD, CLIPScore and as a text encoder.

References: Radford et al., arXiv:2103.00020. Weights under the names of transformers' `CLIPModel`:
model.safetensors of openai/clip-vit-base-patch32, -base-patch16, -large-patch14 and
-large-patch14-336, and of others that have a config.json beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

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

MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
EPSILON = 1e-5
TEXT_LENGTH = 77
HEAD_WIDTH = 64  # of OpenAI's; others say theirs in config.json
_KERNEL = "vision_model.embeddings.patch_embedding.weight"
_TABLE = "vision_model.embeddings.position_embedding.weight"
_LETTERS = {768: "b", 1024: "l", 1280: "h"}
_ACTIVATIONS = ("quick_gelu", "gelu")

Params = dict[str, Any]


class Geometry(NamedTuple):
    """What arrays do not say of one of the two networks.

    Attributes:
      heads: of its attention.
      activation: quick_gelu or gelu.
    """

    heads: int
    activation: str


def geometry(settings: Mapping[str, Any], part: str, width: int) -> Geometry:
    """Returns a network's geometry: config.json's, or OpenAI's where there is none.

    Args:
      settings: config.json's, or empty.
      part: vision or text.
      width: of the network.

    Raises:
      UserError: one that is not known.
    """
    own = settings.get(f"{part}_config")
    own = own if isinstance(own, Mapping) else {}
    # What transformers takes where its config is silent.
    standard = {"vision": 12, "text": 8}[part] if settings else max(width // HEAD_WIDTH, 1)
    found = Geometry(own.get("num_attention_heads", standard), own.get("hidden_act", "quick_gelu"))
    if not isinstance(found.heads, int) or found.heads < 1 or width % found.heads:
        raise UserError(f"config.json: {found.heads} heads for a width of {width}")
    if found.activation not in _ACTIVATIONS:
        raise UserError(f"config.json: hidden_act {found.activation!r}; {_ACTIVATIONS} are known")
    return found


def name_of(shapes: Shapes) -> str | None:
    """Returns e.g. clip_vitl14_336 for an unread file of CLIP; None where it is something else."""
    if not {_KERNEL, _TABLE, "visual_projection.weight"} <= set(shapes):
        return None
    width, _, _, patch = shapes[_KERNEL]
    size = image_size(shapes)
    name = f"clip_vit{_LETTERS.get(width, str(width))}{patch}"
    return name if size == 224 else f"{name}_{size}"


def image_size(shapes: Shapes) -> int:
    """Returns S, the pixels of the images that the network takes."""
    return round((shapes[_TABLE][0] - 1) ** 0.5) * shapes[_KERNEL][-1]


def image_params(arrays: Arrays) -> Params:
    """Returns the image network's parameters.

    Args:
      arrays: under the names of transformers' `CLIPModel`.

    Raises:
      UserError: an array is missing.
    """
    own = without_prefix(arrays, "vision_model.")
    names = ("embeddings.class_embedding", "embeddings.position_embedding.weight")
    norms = [f"{norm}.{part}" for norm in ("pre_layrnorm", "post_layernorm") for part in _PARTS]
    params = _taken(own, [*names, "embeddings.patch_embedding.weight", *norms])
    params |= _taken(arrays, ["visual_projection.weight"])
    return params | {"layers": stacked(own, "encoder.layers")}


def text_params(arrays: Arrays) -> Params:
    """Returns the text network's parameters; without its projection where the file has none.

    Raises:
      UserError: an array is missing.
    """
    own = without_prefix(arrays, "text_model.") or arrays  # without it in a file of text alone
    names = ("embeddings.token_embedding.weight", "embeddings.position_embedding.weight")
    params = _taken(own, [*names, *(f"final_layer_norm.{part}" for part in _PARTS)])
    if "text_projection.weight" in arrays:
        params |= _taken(arrays, ["text_projection.weight"])
    return params | {"layers": stacked(own, "encoder.layers")}


_PARTS = ("weight", "bias")


def _taken(arrays: Arrays, names: list[str]) -> Params:
    try:
        return {name: arrays[name] for name in names}
    except LookupError as error:
        raise UserError(f"no CLIP weights under transformers' names: {error}") from error


@in_full_precision
def image_features(params: Params, images: jax.Array, about: Geometry) -> jax.Array:
    """Returns [B, E] projected embeddings, of any length, of uint8 [B, S, S, 3] images."""
    x = scaled(images, MEAN, DEVIATION)
    x = patches(x, params["embeddings.patch_embedding.weight"])
    first = along(params["embeddings.class_embedding"], x)
    x = jnp.concatenate([jnp.broadcast_to(first, (len(x), 1, x.shape[-1])), x], axis=1)
    x = x + jnp.asarray(params["embeddings.position_embedding.weight"])[None]
    x = layer_norm(x, params, "pre_layrnorm", EPSILON)
    x = through(params["layers"], lambda x, layer: _block(x, layer, about, None), x)
    x = layer_norm(x[:, 0], params, "post_layernorm", EPSILON)
    return dense(x, params, "visual_projection")


@in_full_precision
def text_features(params: Params, codes: jax.Array, about: Geometry) -> tuple[jax.Array, jax.Array]:
    """Returns [B, E] projected embeddings, of any length, and [B, T, width] of each token.

    Args:
      params: of `text_params`.
      codes: int32 [B, T], T <= 77; the end of a text has its largest code, as in CLIP's
        vocabulary, and what follows is not read.
      about: heads and activation.
    """
    length = codes.shape[1]
    x = jnp.asarray(params["embeddings.token_embedding.weight"])[codes]
    x = x + jnp.asarray(params["embeddings.position_embedding.weight"])[None, :length]
    causal = jnp.where(jnp.tri(length, dtype=bool), 0.0, -jnp.inf)[None, None]
    x = through(params["layers"], lambda x, layer: _block(x, layer, about, causal), x)
    tokens = layer_norm(x, params, "final_layer_norm", EPSILON)
    last = tokens[jnp.arange(len(codes)), jnp.argmax(codes, axis=1)]
    whole = dense(last, params, "text_projection") if "text_projection.weight" in params else last
    return whole, tokens


def _block(x: jax.Array, layer: Layer, about: Geometry, bias: jax.Array | None) -> jax.Array:
    normed = layer_norm(x, layer, "layer_norm1", EPSILON)
    q, k, v = (dense(normed, layer, f"self_attn.{part}_proj") for part in "qkv")
    scale = (x.shape[-1] // about.heads) ** -0.5
    mixed = attention(q, k, v, heads=about.heads, scale=scale, bias=bias)
    x = x + dense(mixed, layer, "self_attn.out_proj")
    hidden = dense(layer_norm(x, layer, "layer_norm2", EPSILON), layer, "mlp.fc1")
    return x + dense(_activated(hidden, about.activation), layer, "mlp.fc2")


def _activated(x: jax.Array, name: str) -> jax.Array:
    if name == "gelu":
        return jax.nn.gelu(x, approximate=False)
    return x * jax.nn.sigmoid(1.702 * x)  # what OpenAI's code calls quick


def unit(rows: np.ndarray) -> np.ndarray:
    """Returns rows [n, E] of length 1, in float64."""
    rows = np.asarray(rows, np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
