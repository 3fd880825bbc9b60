"""Differentiable augmentation of what the discriminator sees.

Applied to real and generated images alike, so that the generator does not learn the changes.

Reference: Zhao et al. 2020, arXiv:2006.10738.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp


def parse_policy(policy: str) -> tuple[str, ...]:
    """Returns the changes that a comma-separated policy names; none for an empty one.

    Raises:
      ValueError: there is no such change.
    """
    names = tuple(name.strip() for name in policy.split(",") if name.strip())
    for name in names:
        if name not in CHANGES:
            near = difflib.get_close_matches(name, CHANGES, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(CHANGES)}"
            raise ValueError(f"augmentation {name!r}: {hint}")
    return names


def augment(images: jax.Array, keys: jax.Array, policy: Sequence[str]) -> jax.Array:
    """Returns [B, S, S, 3] images, each changed by its own key.

    Args:
      images: [B, S, S, 3] in [-1, 1].
      keys: [B] random keys.
      policy: names of changes, applied in this order.
    """

    def one(image: jax.Array, key: jax.Array) -> jax.Array:
        for position, name in enumerate(policy):
            image = CHANGES[name](image, jax.random.fold_in(key, position))
        return image

    return jax.vmap(one)(images, keys) if policy else images


def _translation(image: jax.Array, key: jax.Array) -> jax.Array:
    """Moves by up to an eighth of the size; what is left free is grey."""
    size = image.shape[0]
    reach = size // 8
    padded = jnp.pad(image, ((reach, reach), (reach, reach), (0, 0)))
    top, left = jax.random.randint(key, (2,), 0, 2 * reach + 1)
    return jax.lax.dynamic_slice(padded, (top, left, 0), image.shape)


def _color(image: jax.Array, key: jax.Array) -> jax.Array:
    """Changes brightness by up to 0.5, saturation by 0 to 2, contrast by 0.5 to 1.5."""
    brightness, saturation, contrast = jax.random.uniform(key, (3,))
    image = image + (brightness - 0.5)
    grey = image.mean(axis=2, keepdims=True)
    image = grey + (image - grey) * (2.0 * saturation)
    mean = image.mean()
    return mean + (image - mean) * (0.5 + contrast)


def _cutout(image: jax.Array, key: jax.Array) -> jax.Array:
    """Greys out a square of half the size, somewhere."""
    size = image.shape[0]
    top, left = jax.random.randint(key, (2,), -(size // 4), size - size // 4 + 1)
    place = jnp.arange(size)
    rows = (place >= top) & (place < top + size // 2)
    columns = (place >= left) & (place < left + size // 2)
    hidden = rows[:, None, None] & columns[None, :, None]
    return jnp.where(hidden, 0.0, image)


CHANGES: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "translation": _translation,
    "color": _color,
    "cutout": _cutout,
}
