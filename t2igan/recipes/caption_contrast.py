"""One stage of small networks, hinge loss, and captions told from many others' captions.

In a batch of 16 no two captions are much alike, and to tell them apart says nothing of what is
fine: a shape, a pose. So each picture, real or generated, has to find its caption among hundreds
that cost no picture, and the discriminator learns that first, for some steps alone: a judge that
does not see what a caption asks for cannot teach it.

Reference: the caption term, XMC-GAN, eq. 3, arXiv:2101.04702; more negatives than the batch has,
MoCo, section 3.2, arXiv:1911.05722; hinge loss with mismatched captions, DF-GAN, eq. 1,
arXiv:2008.05865.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from input_pipeline.device import AXIS
from t2igan import losses
from t2igan.models.compact import Discriminator, Generator
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
class CaptionContrast(Recipe):
    """Hinge loss on three kinds of pair, and the caption found among the batch's and others.

    Attributes:
      wrong_weight: share of mismatched captions among the negatives.
      contrastive_weight: of finding the caption, for both networks.
      contrastive_temperature: of its similarities.
    """

    wrong_weight: float = 0.5
    contrastive_weight: float = 1.0
    contrastive_temperature: float = 0.05

    def d_loss(
        self, discriminator: Network, generated: Generated, batch: Batch
    ) -> tuple[jax.Array, Metrics]:
        real_features = discriminator(batch.image, method="image_features")
        fake_features = discriminator(generated["image"], method="image_features")
        text = discriminator(batch.text, method="encode")
        wrong_text = discriminator(batch.wrong_text, method="encode")
        real = discriminator(real_features, text, method="judge")
        wrong = discriminator(real_features, wrong_text, method="judge")
        fake = discriminator(fake_features, text, method="judge")
        hinge = losses.hinge_discriminator(real, wrong, fake, self.wrong_weight)
        found = self._contrastive(discriminator, real_features, text, batch)
        metrics = mean_logits(real=real, wrong=wrong, fake=fake)
        return hinge + self.contrastive_weight * found, metrics | {"loss/contrastive_d": found}

    def g_loss(
        self, discriminator: Network, generated: Generated, batch: Batch
    ) -> tuple[jax.Array, Metrics]:
        features = discriminator(generated["image"], method="image_features")
        text = discriminator(batch.text, method="encode")
        adversarial = -jnp.mean(discriminator(features, text, method="judge"))
        found = self._contrastive(discriminator, features, text, batch)
        metrics = {"loss/g_adversarial": adversarial, "loss/contrastive_g": found}
        return adversarial + self.contrastive_weight * found, metrics

    def head_start_loss(self, discriminator: Network, batch: Batch) -> tuple[jax.Array, Metrics]:
        features = discriminator(batch.image, method="image_features")
        text = discriminator(batch.text, method="encode")
        found = self._contrastive(discriminator, features, text, batch)
        return found, {"loss/contrastive_d": found}

    def _contrastive(
        self, discriminator: Network, features: jax.Array, text: jax.Array, batch: Batch
    ) -> jax.Array:
        images = discriminator(features, method="embed_image")
        texts = text.astype(jnp.float32)
        all_images, all_texts = jax.lax.all_gather((images, texts), AXIS, tiled=True)
        others = None
        if batch.others:
            encoded = discriminator(batch.others, method="encode").astype(jnp.float32)
            others = jax.lax.all_gather(encoded, AXIS, tiled=True)
        first = jax.lax.axis_index(AXIS) * images.shape[0]
        return losses.contrastive(
            images, texts, all_images, all_texts, first, self.contrastive_temperature, others
        )


def build(config: Any, image_size: int) -> CaptionContrast:
    """Returns the recipe with the widths, weights and types of `config`."""
    dtype = jnp.dtype(config.train.compute_dtype)
    model, loss = config.model, config.loss
    encoder = model.text_encoder
    return CaptionContrast(
        generator=Generator(
            image_size, model.gf_dim, model.text_dim, encoder, model.cond_dim, dtype
        ),
        discriminator=Discriminator(image_size, model.df_dim, model.text_dim, encoder, dtype=dtype),
        noise_dims={"z": model.z_dim},
        image_size=image_size,
        text_inputs=text_inputs(encoder),
        num_others=loss.contrastive_captions,
        head_start_steps=loss.head_start_steps,
        wrong_weight=loss.wrong_weight,
        contrastive_weight=loss.contrastive_weight,
        contrastive_temperature=loss.contrastive_temperature,
        **shared_options(config),
    )
