"""Conditioning augmentation: a caption becomes a small cloud of conditions, not a point."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from t2igan.models.layers import dense, leaky_relu


class ConditioningAugmentation(nn.Module):
    """Returns (c, mu, log_sigma): c = mu + exp(log_sigma) * eps, eps of each example its own.

    Reference: StackGAN, section 3.1, arXiv:1612.03242.

    Attributes:
      cond_dim: E, width of the condition.
      dtype: of the computation.
    """

    cond_dim: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, text_embedding: jax.Array, eps: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Computes the condition.

        Args:
          text_embedding: [B, T].
          eps: [B, E] standard normal.
        """
        statistics = leaky_relu(dense(2 * self.cond_dim, self.dtype)(text_embedding))
        mu, log_sigma = jnp.split(statistics.astype(jnp.float32), 2, axis=-1)
        return mu + jnp.exp(log_sigma) * eps, mu, log_sigma
