"""Random numbers with an address: (seed, step, name, example), never drawn from a stream.

So a resumed run generates what an uninterrupted one does, and an example's noise depends neither on
the number of devices nor on the rest of its batch.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import jax


def named_key(key: jax.Array, name: str) -> jax.Array:
    """Returns the key folded with a name."""
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def step_key(seed: int, step: jax.Array | int) -> jax.Array:
    """Returns the key of a step."""
    return jax.random.fold_in(jax.random.key(seed), step)


def example_keys(key: jax.Array, indices: jax.Array) -> jax.Array:
    """Returns [B] keys, each a function of the key and its index [B] alone."""
    return jax.vmap(jax.random.fold_in, (None, 0))(key, indices)


def example_noise(
    key: jax.Array, indices: jax.Array, dims: Mapping[str, int]
) -> dict[str, jax.Array]:
    """Standard normal noise, each row a function of the key, its name and its index alone.

    Args:
      key: of the step, or of a seed.
      indices: int [B] which example each row belongs to.
      dims: width of each named noise.

    Returns:
      name -> float32 [B, width].
    """

    def draw(name: str, width: int) -> jax.Array:
        keys = example_keys(named_key(key, name), indices)
        return jax.vmap(lambda one: jax.random.normal(one, (width,)))(keys)

    return {name: draw(name, width) for name, width in sorted(dims.items())}
