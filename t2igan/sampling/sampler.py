"""The one sampler: captions and addressed noise in, uint8 images out, on every local device."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import PartitionSpec as P
from tqdm import tqdm

from t2igan.images import to_uint8
from t2igan.recipes.base import Recipe, Variables
from t2igan.runtime.device import AXIS, data_mesh
from t2igan.runtime.rng import example_noise
from t2igan.runtime.sharding import replicate, shard_map

# Images computed at once. Always as many, the last ones padded: another batch size is another
# program, whose rounding may differ, and the same seed is to give the same image.
BATCH_SIZE = 16


class Sampler:
    """Generates any number of images with one compiled program of a fixed batch size.

    An image depends on its caption, the seed's key, its noise index and the truncation alone, not
    on what else is generated.
    """

    def __init__(
        self,
        recipe: Recipe,
        batch_size: int = BATCH_SIZE,
        devices: Sequence[jax.Device] | None = None,
    ) -> None:
        """Compiles nothing yet.

        Args:
          recipe: its generator samples.
          batch_size: images computed at once over all devices.
          devices: to use, as many of them as divide the batch; this process's by default.
        """
        devices = list(devices or jax.local_devices())
        while batch_size % len(devices):
            devices.pop()
        self._recipe, self._batch_size = recipe, batch_size
        self._mesh = data_mesh(devices)
        mapped = shard_map(self._apply, self._mesh, (P(), P(AXIS), P(AXIS)), P(AXIS))
        self._generate = jax.jit(mapped)

    def place(self, variables: Variables) -> Variables:
        """Returns the generator's variables, whole on each of the sampler's devices."""
        return replicate(variables, self._mesh)

    def noise(
        self, key: jax.Array, indices: np.ndarray, truncation: float = 1.0
    ) -> dict[str, jax.Array]:
        """Returns the recipe's noise, [B, dim] of each name, by the address (key, index).

        Args:
          key: of the seed.
          indices: int [B].
          truncation: the noise is scaled by it.
        """
        return self._noise(key, indices, truncation)

    def noise_of_seeds(
        self, seeds: np.ndarray, indices: np.ndarray, truncations: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Returns the recipe's noise, [B, dim] of each name, a row by its own seed and address.

        Args:
          seeds, indices: int [B].
          truncations: float [B], what each row is scaled by.
        """
        count = len(seeds)
        padded = -(-count // self._batch_size) * self._batch_size  # else another program each time
        rows = (
            np.resize(np.asarray(seeds, np.uint32), padded),
            np.resize(np.asarray(indices, np.int32), padded),
            np.resize(np.asarray(truncations, np.float32), padded),
        )
        found = jax.device_get(self._noise_of_seeds(*rows))
        return {name: values[:count] for name, values in found.items()}

    def sample(
        self,
        variables: Variables,
        text: Mapping[str, Any],
        indices: np.ndarray,
        key: jax.Array,
        truncation: float = 1.0,
        progress: bool = False,
    ) -> np.ndarray:
        """Returns uint8 [N, S, S, 3], row by row of text and noise.

        Args:
          variables: from `place`.
          text: {"codes": int32 [N, L]}, and "sentence" [N, E] where the recipe reads it.
          indices: int [N], which noise of the key each row takes.
          key: of the seed.
          truncation: the noise is scaled by it.
          progress: show a bar.
        """

        def generate(text: Mapping[str, Any], indices: np.ndarray) -> jax.Array:
            return self._generate(variables, text, self._noise(key, indices, truncation))

        rows = (_in_float32(text), np.asarray(indices, np.int32))
        return self._all(generate, rows, progress)

    def from_noise(
        self, variables: Variables, text: Mapping[str, Any], noise: dict[str, np.ndarray]
    ) -> np.ndarray:
        """Returns uint8 [N, S, S, 3] of noise that the caller has made, [N, dim] of each name."""
        generate = functools.partial(self._generate, variables)
        return self._all(generate, (_in_float32(text), noise), progress=False)

    def _apply(self, variables: Variables, text: Mapping[str, Any], noise: Any) -> jax.Array:
        return self._recipe.generator.apply(variables, text, noise, train=False)["image"]

    @functools.cached_property
    def _noise(self) -> Any:
        dims = self._recipe.noise_dims

        def noise(key: jax.Array, indices: jax.Array, scale: float) -> dict[str, jax.Array]:
            return jax.tree.map(lambda rows: rows * scale, example_noise(key, indices, dims))

        return jax.jit(noise)

    @functools.cached_property
    def _noise_of_seeds(self) -> Any:
        dims = self._recipe.noise_dims

        def row(seed: jax.Array, index: jax.Array, scale: jax.Array) -> dict[str, jax.Array]:
            drawn = example_noise(jax.random.key(seed), index[None], dims)
            return jax.tree.map(lambda rows: rows[0] * scale, drawn)

        return jax.jit(jax.vmap(row))

    def _all(self, generate: Any, inputs: tuple[Any, ...], progress: bool) -> np.ndarray:
        """Generates batch by batch; one is computed while the one before it is fetched."""
        count = jax.tree.leaves(inputs)[0].shape[0]
        images = np.empty((count, *[self._recipe.image_size] * 2, 3), np.uint8)
        pending: tuple[int, jax.Array] | None = None
        starts = range(0, count, self._batch_size)
        for start in tqdm(starts, disable=not progress, unit="batch", desc="sampling"):
            # The last row is repeated to fill the last batch.
            rows = np.minimum(np.arange(start, start + self._batch_size), count - 1)
            batch = jax.tree.map(lambda x, rows=rows: x[rows], inputs)
            sent = start, to_uint8(generate(*batch))
            if pending:
                _store(images, *pending)
            pending = sent
        if pending:
            _store(images, *pending)
        return images


def _store(images: np.ndarray, start: int, batch: jax.Array) -> None:
    rows = min(len(batch), len(images) - start)
    images[start : start + rows] = np.asarray(batch)[:rows]


def _in_float32(text: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same text with stored sentence embeddings widened: another type is another program."""
    if "sentence" not in text:
        return text
    return {**text, "sentence": np.asarray(text["sentence"], np.float32)}
