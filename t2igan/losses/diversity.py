"""The diversity loss: two images of one caption shall differ, as images of two captions do.

A conditional GAN easily learns one image a caption: each of its losses is content with that. Here
the generator makes two images of a caption, with noises of their own, and pays where the two are
closer, in the discriminator's features, than a share of what images of the batch are apart. The
share makes the loss free of the features' scale, and stops where images differ enough.

Reference: distances of a pair's images, MSGAN, eq. 2, arXiv:1903.05628; their bound, DSGAN, eq. 2,
arXiv:1901.09024. Those take pixels and divide by the noises' distance; the discriminator's features
and the distance within the batch are this project's.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np


def pairs(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns int [n] and int [n]: rows of a batch whose images are two of one caption.

    They are neighbors, 0 and 1, 2 and 3, ..., both with the caption of the first, so that they lie
    in one group of a minibatch standard deviation. Among real images a group has different captions
    alone: the discriminator asks that the two differ, and that is a good part of the diversity
    (docs/ablations.md).

    Args:
      rows: a replica's images. With an odd number the last finds no partner, and is in neither.
    """
    first = np.arange(0, rows - 1, 2)
    return first, first + 1


def pair_distance(features: jax.Array, axis: str) -> jax.Array:
    """Returns float32 [n]: how far the images of each pair are apart.

    Args:
      features: [b, ...] of this replica's images, see `pairs`.
      axis: name of the replicas' axis.

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
    first, second = pairs(flat.shape[0])
    apart = jnp.sqrt(jnp.mean(jnp.square(flat[first] - flat[second]), axis=-1) + 1e-8)
    return apart / whole


def diversity(features: jax.Array, target: float, axis: str) -> tuple[jax.Array, jax.Array]:
    """Returns the hinge loss mean(max(0, target - d)) of the pairs' distances d, and their mean.

    Args:
      features: as in `pair_distance`, of at least 2 images a replica.
      target: share of the distance between two images of the batch from which a pair costs
        nothing; 1: as far apart as images of different captions.
      axis: name of the replicas' axis.
    """
    distance = pair_distance(features, axis)
    return jnp.mean(jax.nn.relu(target - distance)), jnp.mean(distance)
