"""The StackGAN baseline: first stage, matching-aware loss, conditioning augmentation.

Reference: StackGAN, arXiv:1612.03242, sections 3.1 and 3.2.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from t2igan.losses import adversarial as losses
from t2igan.models.stackgan import Discriminator, Generator
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
class StackGAN(Recipe):
    """Cross entropy on three kinds of pair, and the KL term.

    Attributes:
      kl_weight: of the KL term in the generator's loss.
      real_target: what the discriminator is to say of real pairs (0.9: smoothed).
      generator_target: what the generator wants it to say of its own.
    """

    kl_weight: float = 2.0
    real_target: float = 0.9
    generator_target: float = 1.0

    def d_loss(
        self, discriminator: Network, generated: Generated, batch: Batch
    ) -> tuple[jax.Array, Metrics]:
        # The trunk sees each image once; real features are judged with two captions. Real and
        # fake are normalized apart: together, batch norm would tell the generator's share.
        real_features = discriminator(batch.image, method="image_features")
        fake_features = discriminator(generated["image"], method="image_features")
        real = discriminator(real_features, batch.text, method="judge")
        mismatched = discriminator(real_features, batch.mismatched_text, method="judge")
        fake = discriminator(fake_features, self.in_pairs(batch.text), method="judge")
        loss = losses.matching_aware_discriminator(real, mismatched, fake, self.real_target)
        return loss, mean_logits(real=real, mismatched=mismatched, fake=fake)

    def g_loss(
        self, discriminator: Network, generated: Generated, batch: Batch
    ) -> tuple[jax.Array, Metrics]:
        features = discriminator(generated["image"], method="image_features")
        logits = discriminator(features, self.in_pairs(batch.text), method="judge")
        adversarial = losses.binary_cross_entropy(logits, self.generator_target)
        kl = losses.kl_to_standard_normal(generated["mu"], generated["log_sigma"])
        parts = {"loss/g_adversarial": adversarial, "loss/kl": kl}
        return self.with_diversity(adversarial + self.kl_weight * kl, parts, features)


def build(config: Any, image_size: int) -> StackGAN:
    """Returns the recipe with the widths, weights and types of `config`."""
    dtype = jnp.dtype(config.train.compute_dtype)
    axis_name = "data" if config.train.sync_batch_norm else None
    model = config.model
    return StackGAN(
        generator=Generator(image_size, model.gf_dim, model.cond_dim, dtype, axis_name),
        discriminator=Discriminator(
            image_size,
            model.df_dim,
            model.text_compressor_dim,
            config.loss.train_text_compressor,
            dtype,
            axis_name,
        ),
        noise_dims={"z": model.z_dim, "eps": model.cond_dim},
        image_size=image_size,
        kl_weight=config.loss.kl_weight,
        real_target=config.loss.real_target,
        generator_target=config.loss.generator_target,
        **shared_options(config),
    )
