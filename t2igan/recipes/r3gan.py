"""R3GAN's relativistic loss with captions; both gradient penalties, no norm.

Reference: Huang et al. 2024, arXiv:2501.05441; text by projection, arXiv:1802.05637.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from t2igan.losses import adversarial as losses
from t2igan.models.dfgan import Discriminator, Generator
from t2igan.models.text_encoders import text_inputs
from t2igan.recipes.base import (
    Batch,
    Generated,
    Metrics,
    Network,
    Recipe,
    mean_logits,
    shared_options,
)


@dataclasses.dataclass(frozen=True)
class R3GAN(Recipe):
    """A real pair should score above a generated one, and above itself with a mismatched caption.

    Attributes:
      mismatch_weight: of the comparison with mismatched captions.
    """

    mismatch_weight: float = 0.5

    def d_loss(
        self, discriminator: Network, generated: Generated, batch: Batch
    ) -> tuple[jax.Array, Metrics]:
        real_features = discriminator(batch.image, method="image_features")
        text = discriminator(batch.text, method="encode")
        mismatched_text = discriminator(batch.mismatched_text, method="encode")
        real = discriminator(real_features, text, method="judge")
        mismatched = discriminator(real_features, mismatched_text, method="judge")
        fake = discriminator(generated["image"], self.in_pairs(batch.text))
        mismatch = losses.relativistic(real, mismatched)
        loss = losses.relativistic(self.per_image(real), fake) + self.mismatch_weight * mismatch
        return loss, mean_logits(real=real, mismatched=mismatched, fake=fake) | {
            "loss/mismatch": mismatch
        }

    def g_loss(
        self, discriminator: Network, generated: Generated, batch: Batch
    ) -> tuple[jax.Array, Metrics]:
        real = discriminator(batch.image, batch.text)
        features = discriminator(generated["image"], method="image_features")
        text = discriminator(self.in_pairs(batch.text), method="encode")
        fake = discriminator(features, text, method="judge")
        return self.with_diversity(losses.relativistic(fake, self.per_image(real)), {}, features)


def build(config: Any, image_size: int) -> R3GAN:
    """Returns the recipe with the widths, weights and types of `config`."""
    dtype = jnp.dtype(config.train.compute_dtype)
    model = config.model
    encoder = model.text_encoder
    return R3GAN(
        generator=Generator(image_size, model.gf_dim, model.text_dim, encoder, dtype),
        discriminator=Discriminator(
            image_size, model.df_dim, model.text_dim, encoder, "projection", dtype
        ),
        noise_dims={"z": model.z_dim},
        image_size=image_size,
        text_inputs=text_inputs(encoder),
        mismatch_weight=config.loss.mismatch_weight,
        **shared_options(config),
    )
