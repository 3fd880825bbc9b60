"""The one problem that all competitors solve: weights, a batch and its noise, as an npz file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from configs import common
from t2igan.recipes import base, registry
from t2igan.runtime.rng import example_noise, step_key
from t2igan.training.optimizers import Optimizers, make_optimizers
from t2igan.training.state import TrainState, create_state

WORDS, WORD_DIM, CAPTION_LENGTH = 1004, 200, 17  # the report's
IMAGE_SIZE = 64
STEPS = 1000  # of the run that the optimizers are made for; the schedule is constant


def make_config(**fields: Any) -> ConfigDict:
    """Returns the StackGAN baseline: no EMA generator is kept.

    Args:
      **fields: what differs, as {"model.gf_dim": 64}.
    """
    config = common.get_config()
    config.recipe = "stackgan"
    config.ema.decay = 0.0
    config.update_from_flattened_dict(fields)
    return config


def make_recipe(config: Any, image_size: int = IMAGE_SIZE) -> tuple[base.Recipe, Optimizers]:
    """Returns the StackGAN baseline's networks and losses, and its optimizers."""
    return registry.build(config, image_size), make_optimizers(config, STEPS)


def make_state(config: Any, recipe: base.Recipe, optimizers: Optimizers) -> TrainState:
    """Returns the state of a new run, with word vectors as large as GloVe's."""
    table = 0.4 * np.random.default_rng(0).standard_normal((WORDS, WORD_DIM))
    return create_state(
        recipe, optimizers, table.astype(np.float32), CAPTION_LENGTH, seed=config.seed, ema=False
    )


def make_batch(batch_size: int, image_size: int = IMAGE_SIZE) -> dict[str, np.ndarray]:
    """Returns random images and captions: {"image": uint8 [B, S, S, 3], "codes": int32}."""
    random = np.random.default_rng(1)
    shape = (batch_size, image_size, image_size, 3)
    return {
        "image": random.integers(0, 256, shape, dtype=np.uint8),
        "codes": random.integers(0, WORDS, (batch_size, CAPTION_LENGTH)).astype(np.int32),
    }


def write_batch(path: Path, batch_size: int, image_size: int = IMAGE_SIZE) -> Path:
    """Writes a batch alone: all that this project's own competitor needs. Returns the path."""
    np.savez(path, **make_batch(batch_size, image_size))
    return path


def write(path: Path, batch_size: int) -> Path:
    """Writes weights ("g/..." and "d/..."), word vectors, a batch, and step 0's noise of it."""
    config = make_config()
    recipe, optimizers = make_recipe(config)
    state = make_state(config, recipe, optimizers)
    noise = example_noise(step_key(config.seed, 0), np.arange(batch_size), recipe.noise_dims)
    weights = {
        f"{prefix}/{'/'.join(name)}": value
        for prefix, tree in (("g", state.g_params), ("d", state.d_params))
        for name, value in flatten_dict(tree).items()
    }
    table = state.frozen["words"]["table"]
    np.savez(path, table=table, **make_batch(batch_size), **noise, **weights)
    return path
