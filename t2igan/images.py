"""Images: ranges, grids, downsampling and random blur."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

_BINOMIAL = tuple(weight / 16 for weight in (1, 4, 6, 4, 1))


def to_unit_range(image: jax.Array) -> jax.Array:
    """Returns float32 in [-1, 1] from uint8 in [0, 255]."""
    return image.astype(jnp.float32) / 127.5 - 1.0


def to_uint8(image: jax.Array) -> jax.Array:
    """Returns uint8 in [0, 255] from [-1, 1]: (x + 1) * 127.5, rounded, clipped."""
    scaled = (image.astype(jnp.float32) + 1.0) * 127.5
    return jnp.clip(jnp.round(scaled), 0.0, 255.0).astype(jnp.uint8)


def grid(images: np.ndarray, gap: int = 2, background: int = 255) -> np.ndarray:
    """Returns one image of all: rows and columns as given, `gap` pixels between.

    Args:
      images: uint8 [R, C, H, W, 3].
      gap: pixels between neighbors and around the whole.
      background: grey value of the gaps, 0 to 255.

    Returns:
      uint8 [R * (H + gap) + gap, C * (W + gap) + gap, 3].
    """
    rows, columns, height, width, channels = images.shape
    cell = np.full((rows, columns, height + gap, width + gap, channels), background, dtype=np.uint8)
    cell[:, :, gap:, gap:] = images
    sheet = cell.transpose(0, 2, 1, 3, 4).reshape(
        rows * (height + gap), columns * (width + gap), channels
    )
    return np.pad(sheet, ((0, gap), (0, gap), (0, 0)), constant_values=background)


def downsample(large: jax.Array, size: int) -> jax.Array:
    """Returns [B, size, size, 3] of large [B, k * size, k * size, 3]: each k x k square's mean."""
    batch, full, _, channels = large.shape
    times = full // size
    return large.reshape(batch, size, times, size, times, channels).mean(axis=(2, 4))


def random_blur(images: jax.Array, keys: jax.Array) -> jax.Array:
    """Returns images [B, H, W, 3] mixed with their blur, each by a share of its own from 0 to 1.

    Generated images are softer than real ones: who learns to enlarge from real images alone
    enlarges those badly.

    Args:
      images: of any range.
      keys: [B] random keys.

    Reference: conditioning augmentation by blur, Cascaded Diffusion Models, arXiv:2106.15282; here
    the blur is the binomial one of 5 pixels, deviation 1.
    """
    share = jax.vmap(jax.random.uniform)(keys)[:, None, None, None]
    blurred = images
    for axis in (1, 2):
        pad = [(2, 2) if at == axis else (0, 0) for at in range(4)]
        padded, size = jnp.pad(blurred, pad, mode="edge"), images.shape[axis]
        shifted = (jax.lax.slice_in_dim(padded, at, at + size, axis=axis) for at in range(5))
        blurred = sum(weight * x for weight, x in zip(_BINOMIAL, shifted, strict=True))
    return images + share * (blurred - images)
