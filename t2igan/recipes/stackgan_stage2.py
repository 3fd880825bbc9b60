"""StackGAN's second stage: the first stage's losses on an image 2 or 4 times as large.

Reference: StackGAN, arXiv:1612.03242, section 3.3.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NoReturn

import jax.numpy as jnp

from t2igan.models.stackgan_stage2 import Discriminator2, Generator2, check_sizes, eps_name
from t2igan.recipes.base import Recipe, shared_options
from t2igan.recipes.second_stage import SecondStage
from t2igan.recipes.stackgan import StackGAN


@dataclasses.dataclass(frozen=True)
class StackGANStage2(SecondStage, StackGAN):
    """The first stage's losses at the second stage's size."""


def build(config: Any, image_size: int) -> NoReturn:
    """Refuses: there is no second stage without a first.

    Raises:
      ValueError: always.
    """
    raise ValueError("draws on a first stage: give its finished run, --config.stage1=RUN")


def build_on(stage1: Recipe, config: Any, image_size: int) -> StackGANStage2:
    """Returns the recipe with the widths, weights and types of `config`.

    Args:
      stage1: of the run that draws the small image; any recipe.
      config: of the second stage.
      image_size: pixels, 2 or 4 times the first stage's.
    """
    check_sizes(stage1.image_size, image_size)
    dtype = jnp.dtype(config.train.compute_dtype)
    axis_name = "data" if config.train.sync_batch_norm else None
    model = config.model
    return StackGANStage2(
        generator=Generator2(
            stage1.generator,
            stage1.image_size,
            image_size,
            model.gf_dim,
            model.cond_dim,
            dtype,
            axis_name,
            model.refine,
        ),
        discriminator=Discriminator2(
            image_size,
            model.df_dim,
            model.text_compressor_dim,
            config.loss.train_text_compressor,
            dtype,
            axis_name,
        ),
        noise_dims={**stage1.noise_dims, eps_name(image_size): model.cond_dim},
        image_size=image_size,
        text_inputs=stage1.text_inputs,
        consistency_weight=config.loss.consistency_weight,
        kl_weight=config.loss.kl_weight,
        real_target=config.loss.real_target,
        generator_target=config.loss.generator_target,
        **shared_options(config),
    )
