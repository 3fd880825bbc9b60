"""The diversity loss: two images of one caption shall differ, as images of two captions do.

A conditional GAN easily learns one image a caption: each of its losses is content with that. Here
the generator makes two images of every caption of a step, with noises of their own, and pays where
the two are closer, in the discriminator's features, than a share of what images of the batch are
apart. The share makes the loss free of the features' scale, and stops where images differ enough.

Reference: distances of a pair's images, MSGAN, eq. 2, arXiv:1903.05628; their bound, DSGAN, eq. 2,
arXiv:1901.09024. Those take pixels and divide by the noises' distance; the discriminator's features
and the distance within the batch are this project's.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np


def pairs(rows: int, group: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Returns int [n] and int [n]: rows of a batch whose images are two of one caption.

    Both have the caption of the first. A pair is never within one group of `group` rows: there a
    minibatch standard deviation would tell it from the different captions of real images, and
    with it the discriminator, whatever the images look like.

    Args:
      rows: a replica's images. A row that finds no partner is in neither array.
      group: `model.mbstd_group_size`; with it each group's captions are those of the next group.
        Where a replica has less than two groups, their greatest common divisor is the group.
    """
    stride = math.gcd(group or 1, rows // 2) or 1
    place = np.arange(rows // (2 * stride) * (2 * stride))
    first = place[place // stride % 2 == 0]
    return first, first + stride


def pair_distance(features: jax.Array, axis: str, group: int = 0) -> jax.Array:
    """Returns float32 [n]: how far the images of each pair are apart.

    Args:
      features: [b, ...] of this replica's images, see `pairs`.
      axis: name of the replicas' axis.
      group: as in `pairs`.

    Returns:
      Root mean square distances, as shares of that between two images of the whole batch. The
      gradient takes the latter as a constant: a pair shall not come apart by bringing different
      captions' images together.
    """
    flat = features.astype(jnp.float32).reshape(features.shape[0], -1)
    mean = jax.lax.pmean(jnp.mean(flat, axis=0, keepdims=True), axis)
    # The mean square distance of two draws is twice their variance.
    variance = jax.lax.pmean(jnp.mean(jnp.square(flat - mean)), axis)
    whole = jax.lax.stop_gradient(jnp.sqrt(2.0 * variance + 1e-8))
    # The small number gives equal images a gradient that is finite.
    first, second = pairs(flat.shape[0], group)
    apart = jnp.sqrt(jnp.mean(jnp.square(flat[first] - flat[second]), axis=-1) + 1e-8)
    return apart / whole


def diversity(
    features: jax.Array, target: float, axis: str, group: int = 0
) -> tuple[jax.Array, jax.Array]:
    """Returns the hinge loss mean(max(0, target - d)) of the pairs' distances d, and their mean.

    Args:
      features: as in `pair_distance`, of at least 2 images a replica.
      target: share of the distance between two images of the batch from which a pair costs
        nothing; 1: as far apart as images of different captions.
      axis: name of the replicas' axis.
      group: as in `pairs`.
    """
    distance = pair_distance(features, axis, group)
    return jnp.mean(jax.nn.relu(target - distance)), jnp.mean(distance)
