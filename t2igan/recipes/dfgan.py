"""DF-GAN: one stage, hinge loss, matching-aware gradient penalty; and a contrastive loss.

Each image, real or generated, may have to find its caption among the batch's and others': in a
batch of 16 no two captions are much alike, and to tell them apart says nothing of what is fine, a
shape or a pose. Captions that come without their images cost little. The discriminator may learn
that alone at first: a judge that does not see what a caption asks for cannot teach it.

Reference: DF-GAN, arXiv:2008.05865; the caption term, XMC-GAN, eq. 3, arXiv:2101.04702; more
negatives than the batch has, MoCo, section 3.2, arXiv:1911.05722.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from t2igan.losses import adversarial as losses
from t2igan.losses import gradient_penalties
from t2igan.losses.diversity import pairs
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
from t2igan.runtime.device import AXIS


@dataclasses.dataclass(frozen=True)
class DFGAN(Recipe):
    """Hinge loss on three kinds of pair, with the matching-aware gradient penalty.

    Attributes:
      mismatch_weight: share of mismatched captions among the negatives.
      contrastive_weight: of finding the caption among the batch's and others, for both networks.
      contrastive_temperature: of its similarities.
      gp_weight: of the matching-aware gradient penalty.
      gp_power: of the gradient's norm in it.
    """

    mismatch_weight: float = 0.5
    contrastive_weight: float = 0.0
    contrastive_temperature: float = 0.1
    gp_weight: float = 2.0
    gp_power: float = 6.0

    def d_loss(
        self, discriminator: Network, generated: Generated, batch: Batch
    ) -> tuple[jax.Array, Metrics]:
        real_features = discriminator(batch.image, method="image_features")
        fake_features = discriminator(generated["image"], method="image_features")
        text = discriminator(batch.text, method="encode")
        mismatched_text = discriminator(batch.mismatched_text, method="encode")
        real = discriminator(real_features, text, method="judge")
        mismatched = discriminator(real_features, mismatched_text, method="judge")
        fake = discriminator(fake_features, self.in_pairs(text), method="judge")
        loss = losses.hinge_discriminator(real, mismatched, fake, self.mismatch_weight)
        metrics = mean_logits(real=real, mismatched=mismatched, fake=fake)
        extra, parts = self._contrastive(discriminator, real_features, text, batch, "d")
        return loss + extra, metrics | parts

    def g_loss(
        self, discriminator: Network, generated: Generated, batch: Batch
    ) -> tuple[jax.Array, Metrics]:
        features = discriminator(generated["image"], method="image_features")
        text = discriminator(batch.text, method="encode")
        paired = self.in_pairs(text)
        adversarial = -jnp.mean(discriminator(features, paired, method="judge"))
        extra, parts = self._contrastive_of_pairs(discriminator, features, text, batch)
        parts = {"loss/g_adversarial": adversarial} | parts
        return self.with_diversity(adversarial + extra, parts, features)

    def d_warmup_loss(self, discriminator: Network, batch: Batch) -> tuple[jax.Array, Metrics]:
        features = discriminator(batch.image, method="image_features")
        text = discriminator(batch.text, method="encode")
        return self._contrastive(discriminator, features, text, batch, "d")

    def penalties(self, discriminator: Network, generated: Generated, batch: Batch) -> Metrics:
        found = super().penalties(discriminator, generated, batch)
        if not self.gp_weight:
            return found

        def logits(image: jax.Array, text: jax.Array) -> jax.Array:
            features = discriminator(image, method="image_features")
            return discriminator(features, text, method="judge")

        text = discriminator(batch.text, method="encode")
        penalty = gradient_penalties.matching_aware(logits, batch.image, text, self.gp_power)
        return found | {"loss/matching_gp": self.gp_weight * penalty}

    def _contrastive_of_pairs(
        self, discriminator: Network, features: Any, text: jax.Array, batch: Batch
    ) -> tuple[jax.Array, Metrics]:
        """Returns the generator's term: each of a pair's images among those of other captions.

        A pair has one caption: neither image may count as a wrong answer to the other's. The
        captions that have no image in this step remain wrong answers.
        """
        if not self.diversity_weight:
            return self._contrastive(discriminator, features, text, batch, "g")
        first, second = pairs(jax.tree.leaves(features)[0].shape[0])
        own, others = (text, None) if self.doubles else (text[first], text[second])
        halves = [
            self._contrastive(
                discriminator,
                jax.tree.map(lambda rows, half=half: rows[half], features),
                own,
                batch,
                "g",
                others,
            )
            for half in (first, second)
        ]
        return jax.tree.map(lambda one, other: 0.5 * (one + other), *halves)

    def _contrastive(
        self,
        discriminator: Network,
        features: jax.Array,
        text: jax.Array,
        batch: Batch,
        name: str,
        negatives: jax.Array | None = None,
    ) -> tuple[jax.Array, Metrics]:
        """Returns the weighted term, and the term itself as a metric; nothing where it is off.

        Args:
          negatives: [n, E] of this replica, captions besides `text` and the batch's extra ones.
        """
        if not self.contrastive_weight:
            return jnp.zeros(()), {}
        images = discriminator(features, method="embed_image")
        texts = text.astype(jnp.float32)
        all_images, all_texts = jax.lax.all_gather((images, texts), AXIS, tiled=True)
        others = [] if negatives is None else [negatives.astype(jnp.float32)]
        if batch.extra_negatives:
            others.append(discriminator(batch.extra_negatives, method="encode").astype(jnp.float32))
        more = jax.lax.all_gather(jnp.concatenate(others), AXIS, tiled=True) if others else None
        first = jax.lax.axis_index(AXIS) * images.shape[0]
        loss = losses.contrastive(
            images, texts, all_images, all_texts, first, self.contrastive_temperature, more
        )
        return self.contrastive_weight * loss, {f"loss/contrastive_{name}": loss}


def build(config: Any, image_size: int) -> DFGAN:
    """Returns the recipe with the widths, weights and types of `config`."""
    dtype = jnp.dtype(config.train.compute_dtype)
    model, loss = config.model, config.loss
    encoder = model.text_encoder
    return DFGAN(
        generator=Generator(image_size, model.gf_dim, model.text_dim, encoder, dtype),
        discriminator=Discriminator(
            image_size, model.df_dim, model.text_dim, encoder, "concat", dtype
        ),
        noise_dims={"z": model.z_dim},
        image_size=image_size,
        text_inputs=text_inputs(encoder),
        gp_weight=loss.matching_gp_weight,
        gp_power=loss.matching_gp_power,
        **hinge_options(config),
    )


def hinge_options(config: Any) -> dict[str, Any]:
    """Returns all options of `DFGAN` but its networks and its penalty.

    Raises:
      ValueError: a discriminator warm-up, and nothing to learn in it.
    """
    loss = config.loss
    if loss.d_warmup_steps and not loss.contrastive_weight:
        raise ValueError(
            f"loss.d_warmup_steps={loss.d_warmup_steps} needs a loss.contrastive_weight above 0"
        )
    return shared_options(config) | {
        "extra_negatives": loss.extra_negatives if loss.contrastive_weight else 0,
        "d_warmup_steps": loss.d_warmup_steps,
        "mismatch_weight": loss.mismatch_weight,
        "contrastive_weight": loss.contrastive_weight,
        "contrastive_temperature": loss.contrastive_temperature,
    }
