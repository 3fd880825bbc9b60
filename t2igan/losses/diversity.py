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

import jax
import jax.numpy as jnp


def first_of_pair(rows: int) -> jax.Array:
    """Returns int32 [rows]: 0, 0, 2, 2, 4, ...: whose caption a row takes where pairs share one."""
    return jnp.arange(rows) // 2 * 2


def pair_distance(features: jax.Array, axis: str) -> jax.Array:
    """Returns float32 [b // 2]: how far the images of each pair are apart.

    Args:
      features: [b, ...] of this replica's images, two of a caption after another. With an odd b
        the last row has no partner and is passed over.
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
    pairs = jnp.sqrt(jnp.mean(jnp.square(flat[:-1:2] - flat[1::2]), axis=-1) + 1e-8)
    return pairs / whole


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
