"""Penalties on the gradient of the discriminator's logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

FORMS = ("exact", "difference")


def squared_gradient_norms(logits: Callable[..., jax.Array], *inputs: jax.Array) -> jax.Array:
    """Returns float32 [B]: per example, the squared norm of the gradient by all inputs together.

    Args:
      logits: (*inputs) -> [B], each logit of its own example alone (no batch norm).
      inputs: [B, ...] each.
    """
    gradients = jax.grad(lambda *args: logits(*args).sum(), argnums=tuple(range(len(inputs))))
    squares = [jnp.square(g.astype(jnp.float32)) for g in gradients(*inputs)]
    return sum(square.reshape(square.shape[0], -1).sum(axis=1) for square in squares)


def zero_centred(
    logits: Callable[[jax.Array], jax.Array],
    images: jax.Array,
    key: Any,
    form: str = "exact",
    sigma: float = 0.01,
) -> jax.Array:
    """Returns [] E ||grad_x D(x)||^2: R1 on real images, R2 on generated ones.

    "exact" differentiates twice. "difference" looks at D(x + sigma * u) - D(x) along one random
    normal direction u an image: its square over sigma^2 has the same mean, up to order sigma^2.

    Args:
      logits: [B, S, S, 3] -> [B].
      images: [B, S, S, 3].
      key: [B] random keys; read by "difference".
      form: one of FORMS.
      sigma: step of "difference", in units of the images' range of 2.

    Reference: R1, Mescheder et al. 2018, eq. 9, arXiv:1801.04406; the difference, Lin et al. 2025,
      section 3.3, arXiv:2501.08316.
    """
    if form == "exact":
        return squared_gradient_norms(logits, images).mean()
    if form != "difference":
        raise ValueError(f"penalty form {form!r}: must be one of {', '.join(FORMS)}")
    direction = jax.vmap(lambda one: jax.random.normal(one, images.shape[1:]))(key)
    change = (logits(images + sigma * direction) - logits(images)) / sigma
    return jnp.square(change).mean()


def matching_aware(
    logits: Callable[[jax.Array, jax.Array], jax.Array],
    images: jax.Array,
    embeddings: jax.Array,
    power: float = 6.0,
) -> jax.Array:
    """Returns [] E ||grad_{x, e} D(x, e)||^power on real images with their own captions.

    Args:
      logits: (images, embeddings) -> [B].
      images: [B, S, S, 3].
      embeddings: [B, E] encoded captions.
      power: of the norm.

    Reference: DF-GAN, eq. 2, arXiv:2008.05865.
    """
    # The even power of a norm needs no square root, whose gradient is infinite at nought.
    return jnp.power(squared_gradient_norms(logits, images, embeddings), power / 2.0).mean()
