"""EfficientNet-Lite1's feature maps, for projected discriminators.

Not Lite0, whose features measure the images: a generator must not be trained by its own judge.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from t2igan.backbones import lite_weights
from t2igan.backbones.efficientnet_lite import Params, stage_maps

VARIANT = lite_weights.LITE1
# Stages whose maps are looked at, one a resolution, from half of the image's on; and the root
# mean square of their maps, over 128 photographs of Flickr8k at 64x64.
STAGES = (0, 1, 2, 4, 6)
SCALES = (7.3, 11.5, 10.0, 8.9, 3.5)


def map_sizes(image_size: int) -> list[int]:
    """Pixels of each map of an image, 1 or more: S/2, S/4, ..."""
    sizes = [image_size >> (step + 1) for step in range(len(STAGES))]
    return [size for size in sizes if size]


def feature_maps(image: jax.Array) -> list[jax.Array]:
    """Returns maps [B, S/2, S/2, 16] to [B, S/32, S/32, 320], their numbers about 1 in size.

    Those that are smaller than a pixel are left out.

    Args:
      image: [B, S, S, 3] in [-1, 1]; its type is that of the computation.

    Raises:
      UserError: the network's weights are not installed.
    """
    x = (image * 127.5 + 0.5) / 128.0  # of a pixel p from 0 to 255, (p - 127) / 128
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, x.dtype), _params())
    maps = stage_maps(params, x, VARIANT.stages)
    count = len(map_sizes(image.shape[1]))
    wanted = zip(STAGES[:count], SCALES[:count], strict=True)
    return [maps[stage] / scale for stage, scale in wanted]


@functools.cache
def _params() -> Params:
    """Read when a discriminator first looks: sampling needs no discriminator."""
    params = lite_weights.read(VARIANT)
    return {name: layer for name, layer in params.items() if name not in ("head", "classes")}
