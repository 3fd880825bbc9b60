"""Small networks with hinge and contrastive loss, for CPUs.

What two CPU cores can train in minutes. Set loss.contrastive_weight: without it nothing asks for
what is fine in a caption.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp

from t2igan.models.compact import Discriminator, Generator
from t2igan.models.stackgan_stage2 import check_sizes
from t2igan.models.super_resolution import SuperResolution
from t2igan.models.text_encoders import text_inputs
from t2igan.recipes.base import Recipe
from t2igan.recipes.dfgan import DFGAN, hinge_options
from t2igan.recipes.second_stage import SecondStage


@dataclasses.dataclass(frozen=True)
class ContrastiveStage2(SecondStage, DFGAN):
    """The same losses on a first stage's image upsampled."""


def build(config: Any, image_size: int) -> DFGAN:
    """Returns the recipe with the widths, weights and types of `config`."""
    dtype, model = jnp.dtype(config.train.compute_dtype), config.model
    encoder = model.text_encoder
    return DFGAN(
        generator=Generator(
            image_size, model.gf_dim, model.text_dim, encoder, model.cond_dim, dtype
        ),
        discriminator=Discriminator(image_size, model.df_dim, model.text_dim, encoder, dtype=dtype),
        noise_dims={"z": model.z_dim},
        image_size=image_size,
        text_inputs=text_inputs(encoder),
        gp_weight=0.0,
        **hinge_options(config),
    )


def build_on(stage1: Recipe, config: Any, image_size: int) -> ContrastiveStage2:
    """Returns the same with a generator that makes a first stage's image large.

    Args:
      stage1: of the run that draws the small image; any recipe.
      config: of the second stage.
      image_size: pixels, 2 or 4 times the first stage's.
    """
    check_sizes(stage1.image_size, image_size)
    model, recipe = config.model, build(config, image_size)
    options = {field.name: getattr(recipe, field.name) for field in dataclasses.fields(recipe)}
    generator = SuperResolution(
        stage1.generator,
        image_size,
        model.gf_dim,
        model.text_dim,
        model.text_encoder,
        model.cond_dim,
        dtype=jnp.dtype(config.train.compute_dtype),
    )
    return ContrastiveStage2(
        **options
        | {
            "generator": generator,
            "noise_dims": stage1.noise_dims,
            "text_inputs": tuple(sorted({*stage1.text_inputs, *recipe.text_inputs})),
        },
        consistency_weight=config.loss.consistency_weight,
        reconstruction_weight=config.loss.reconstruction_weight,
    )
