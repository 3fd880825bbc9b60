"""Any number of pictures from a program that draws a fixed number at once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from tqdm import tqdm

from t2igan.images import to_uint8
from t2igan.recipes.base import Recipe
from t2igan.runtime.device import AXIS
from t2igan.runtime.rng import example_noise
from t2igan.runtime.sharding import shard_map


def draw_all(
    draw: Callable[..., jax.Array],
    inputs: tuple[Any, ...],
    image_size: int,
    batch_size: int,
    progress: bool = False,
) -> np.ndarray:
    """Returns uint8 [B, S, S, 3], row by row of the inputs.

    One batch is drawn while the one before it is fetched; no more wait on the device.

    Args:
      draw: takes `batch_size` rows of the inputs, returns [batch_size, S, S, 3] in [-1, 1].
      inputs: trees of arrays [B, ...].
      image_size: S.
      batch_size: rows at once; the last row is repeated to fill the last batch.
      progress: show a bar.
    """
    count = jax.tree.leaves(inputs)[0].shape[0]
    out = np.empty((count, image_size, image_size, 3), np.uint8)
    pending: tuple[int, jax.Array] | None = None
    starts = range(0, count, batch_size)
    for start in tqdm(starts, disable=not progress, unit="batch", desc="drawing"):
        drawn = start, to_uint8(draw(*_rows(inputs, start, batch_size)))
        if pending:
            _store(out, *pending)
        pending = drawn
    if pending:
        _store(out, *pending)
    return out


def _store(out: np.ndarray, start: int, images: jax.Array) -> None:
    rows = min(len(images), len(out) - start)
    out[start : start + rows] = np.asarray(images)[:rows]


def _rows(tree: Any, start: int, count: int) -> Any:
    places = np.arange(start, start + count)
    return jax.tree.map(lambda x: x[np.minimum(places, len(x) - 1)], tree)


def make_sample_fn(recipe: Recipe, mesh: Mesh) -> Callable[..., jax.Array]:
    """Returns (variables, text, indices, key, truncation=1.0) -> float32 [B, S, S, 3] in [-1, 1].

    Each picture's noise depends on the key and its index alone, so that the same index gives the
    same picture in any batch on any number of devices. The noise is scaled by the truncation.
    """

    def sample(
        variables: Any, text: Any, indices: jax.Array, key: jax.Array, truncation: jax.Array
    ) -> jax.Array:
        noise = example_noise(key, indices, recipe.noise_dims)
        noise = jax.tree.map(lambda one: one * truncation, noise)
        return _draw(recipe, variables, text, noise)

    mapped = jax.jit(shard_map(sample, mesh, (P(), P(AXIS), P(AXIS), P(), P()), P(AXIS)))

    def call(
        variables: Any, text: Any, indices: jax.Array, key: jax.Array, truncation: float = 1.0
    ) -> jax.Array:
        return mapped(variables, text, indices, key, jnp.float32(truncation))

    return call


def make_draw_fn(recipe: Recipe, mesh: Mesh) -> Callable[..., jax.Array]:
    """Returns (variables, text, noise) -> float32 [B, S, S, 3] in [-1, 1], of any noise."""
    draw = functools.partial(_draw, recipe)
    return jax.jit(shard_map(draw, mesh, (P(), P(AXIS), P(AXIS)), P(AXIS)))


def _draw(recipe: Recipe, variables: Any, text: Any, noise: Any) -> jax.Array:
    return recipe.generator.apply(variables, text, noise, train=False)["image"]
