"""The encoder of T5, as a text encoder.

References: Raffel et al., arXiv:1910.10683; gated activations: Shazeer, arXiv:2002.05202 (T5 1.1).
Weights under the names of transformers' `T5EncoderModel` or `T5ForConditionalGeneration`.
"""

from __future__ import annotations

import math
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
    stacked,
    through,
)
from t2igan.backbones.weight_files import Arrays

EPSILON = 1e-6
MOST_DISTANT = 128  # tokens; those further apart share a bias
_BIAS = "layer.0.SelfAttention.relative_attention_bias.weight"
_WORDS = ("shared.weight", "encoder.embed_tokens.weight")

Params = dict[str, Any]


def params_from(arrays: Arrays) -> Params:
    """Returns the encoder's parameters.

    Args:
      arrays: under transformers' names.

    Raises:
      UserError: an array is missing.
    """
    bias = f"encoder.block.0.{_BIAS}"
    try:
        words = next(arrays[name] for name in _WORDS if name in arrays)
        params = {
            "words": words,
            "distances": arrays[bias],  # [buckets, heads], the first layer's serves all
            "norm.weight": arrays["encoder.final_layer_norm.weight"],
        }
    except (LookupError, StopIteration) as error:
        raise UserError(f"no T5 encoder under transformers' names: {error}") from error
    layers = {name: array for name, array in arrays.items() if name != bias}
    return params | {"layers": stacked(layers, "encoder.block")}


@in_full_precision
def token_features(params: Params, codes: jax.Array, lengths: jax.Array) -> jax.Array:
    """Returns [B, T, width] of each token; of what follows a text's end, anything.

    Args:
      params: of `params_from`.
      codes: int32 [B, T].
      lengths: int32 [B] tokens of each text, its end included; at least 1.
    """
    places = jnp.arange(codes.shape[1])
    buckets, heads = params["distances"].shape
    away = bucket(np.arange(codes.shape[1])[None] - np.arange(codes.shape[1])[:, None], buckets)
    bias = jnp.asarray(params["distances"])[away].transpose(2, 0, 1)[None]
    seen = (places[None] < lengths[:, None])[:, None, None]
    bias = jnp.where(seen, bias, -jnp.inf)

    def block(x: jax.Array, layer: Layer) -> jax.Array:
        own = "layer.0.SelfAttention."
        normed = rms_norm(x, layer, "layer.0.layer_norm")
        q, k, v = (dense(normed, layer, own + part) for part in "qkv")
        mixed = attention(q, k, v, heads=heads, scale=1.0, bias=bias)  # T5 does not scale
        x = x + dense(mixed, layer, own + "o")
        return x + _feed_forward(rms_norm(x, layer, "layer.1.layer_norm"), layer)

    return rms_norm(
        through(params["layers"], block, jnp.asarray(params["words"])[codes]), params, "norm"
    )


def rms_norm(x: jax.Array, layer: Layer, name: str) -> jax.Array:
    """Returns x [..., width] divided by its root mean square, scaled."""
    square = jnp.square(x).mean(axis=-1, keepdims=True)
    return x * jax.lax.rsqrt(square + EPSILON) * along(layer[f"{name}.weight"], x)


def _feed_forward(x: jax.Array, layer: Layer) -> jax.Array:
    own = "layer.1.DenseReluDense."
    if f"{own}wi_0.weight" in layer:
        gate = jax.nn.gelu(dense(x, layer, own + "wi_0"), approximate=True)
        return dense(gate * dense(x, layer, own + "wi_1"), layer, own + "wo")
    return dense(jax.nn.relu(dense(x, layer, own + "wi")), layer, own + "wo")


def bucket(away: np.ndarray, buckets: int) -> np.ndarray:
    """Returns which bias a distance of tokens has: exact when near, by logarithm when far.

    Args:
      away: int, place looked at less place that looks.
      buckets: even; half of them for either direction.

    Reference: arXiv:1910.10683, section 2.1.
    """
    half = buckets // 2
    near = half // 2
    distance = np.abs(away)
    # In float32, as where the networks were trained: 16 and 64 fall on a border.
    far = np.log(np.float32(np.maximum(distance, 1) / near))
    far = far / np.float32(math.log(MOST_DISTANT / near)) * np.float32(half - near)
    found = np.where(distance < near, distance, np.minimum(near + far.astype(int), half - 1))
    return found + half * (away > 0)
