"""Losses of second stages: they tie the large image to the small one."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from t2igan.images import downsample, random_blur
from t2igan.losses import adversarial as losses
from t2igan.recipes.base import Batch, Generated, Metrics, Network, Recipe, Variables
from t2igan.runtime.rng import named_key


@dataclasses.dataclass(frozen=True)
class SecondStage(Recipe):
    """A recipe whose generator makes a first stage's image 2 or 4 times as large.

    Where `reconstruction_weight` is not 0 the generator has a method
    `enlarge(small [B, s, s, 3], text, train=) -> [B, S, S, 3]`.

    Attributes:
      consistency_weight: of the distance between the downsampled image and the first stage's.
      reconstruction_weight: of the distance between real images and what the second stage makes
        of them downsampled.
    """

    consistency_weight: float = 0.0
    reconstruction_weight: float = 0.0

    def generate(self, generator: Network, batch: Batch, noise: Variables) -> Generated:
        generated = super().generate(generator, batch, noise)
        if not self.reconstruction_weight:
            return generated
        # Blurred first, because generated images are softer than real ones.
        keys = jax.vmap(lambda key: named_key(key, "soften"))(batch.keys)
        small = random_blur(downsample(batch.image, generated["small"].shape[1]), keys)
        return {**generated, "enlarged": generator(small, batch.text, method="enlarge")}

    def image_terms(self, generated: Generated, image: jax.Array) -> Metrics:
        """Returns the consistency and the reconstruction loss, weighted.

        Reference: reconstruction, SRGAN, eq. 4, arXiv:1609.04802.
        """
        terms = {}
        if self.consistency_weight:
            term = losses.consistency(generated["image"], generated["small"])
            terms["loss/consistency"] = self.consistency_weight * term
        if self.reconstruction_weight:
            term = jnp.mean(jnp.square(generated["enlarged"] - image))
            terms["loss/reconstruction"] = self.reconstruction_weight * term
        return terms
