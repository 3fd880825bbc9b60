"""`matching_hinge` with small networks, no gradient penalty, and captions told from hundreds.

What two CPU cores can train in minutes. Set loss.contrastive_weight: without it nothing asks for
what is fine in a caption.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp

from t2igan.models.compact import Discriminator, Generator
from t2igan.models.text_encoders import text_inputs
from t2igan.recipes.base import Recipe
from t2igan.recipes.matching_hinge import MatchingHinge, hinge_options
from t2igan.recipes.stackgan2 import second_generator


def build(config: Any, image_size: int) -> MatchingHinge:
    """Returns the recipe with the widths, weights and types of `config`."""
    dtype, model = jnp.dtype(config.train.compute_dtype), config.model
    encoder = model.text_encoder
    return MatchingHinge(
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


def build_on(stage1: Recipe, config: Any, image_size: int) -> MatchingHinge:
    """Returns the same with StackGAN's second stage as its generator.

    Args:
      stage1: of the run that draws the small picture; any recipe.
      config: of the second stage.
      image_size: pixels, 2 or 4 times the first stage's.
    """
    recipe = build(config, image_size)
    read = {*stage1.text_inputs, *recipe.text_inputs}
    return dataclasses.replace(
        recipe, text_inputs=tuple(sorted(read)), **second_generator(stage1, config, image_size)
    )
