"""EfficientNet-Lite0 with ImageNet weights: the feature network that works without a download.

ImageSet of any size are resized to 224 x 224 by bilinear interpolation and scaled by
(x - 127) / 128, as the network was trained.
"""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from t2igan.backbones import lite_weights
from t2igan.backbones.efficientnet_lite import Params, conv, relu6, stage_maps
from t2igan.metrics.features.network import FeatureNetwork

VARIANT = lite_weights.LITE0
NAME = VARIANT.name
SIZE = 224
DIM = 1280
RESIZE = "bilinear 224"


def prepare(images: jax.Array) -> jax.Array:
    """Returns the network's input: [B, 224, 224, 3] about -1 to 1, from uint8 [B, H, W, 3]."""
    x = images.astype(jnp.float32)
    batch, height, width, channels = x.shape
    if (height, width) != (SIZE, SIZE):
        x = jax.image.resize(x, (batch, SIZE, SIZE, channels), "bilinear")
    return (x - 127.0) / 128.0


def features(params: Params, images: jax.Array) -> jax.Array:
    """Returns [B, 1280] pooled features of uint8 [B, H, W, 3] images."""
    last = stage_maps(params, prepare(images), VARIANT.stages)[-1]
    return jnp.mean(relu6(conv(last, params["head"])), axis=(1, 2))


def logits(params: Params, features: np.ndarray) -> np.ndarray:
    """Returns [B, 1000] ImageNet logits of [B, 1280] pooled features."""
    return features @ params["classes"]["kernel"] + params["classes"]["bias"][None]


def load(weights: str | Path | None = None) -> FeatureNetwork:
    """Returns the network with its ImageNet weights.

    Args:
      weights: the package's `.pth` file; that of the installed package unless told.

    Raises:
      UserError: the file is missing, damaged, or not the published one.
    """
    return FeatureNetwork(
        name=NAME,
        dim=DIM,
        params=lite_weights.read(VARIANT, weights),
        apply=features,
        classify=logits,
        provenance={"network": NAME, "weights_sha256": VARIANT.sha256, "resize": RESIZE},
    )
