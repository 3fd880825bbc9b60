"""Measures of mode collapse on a few fixed captions, images and noises.

A GAN collapses in three ways: the noise changes nothing any more, the text changes nothing any
more, or the discriminator wins so clearly that neither network learns. None of them shows in the
losses for sure; all of them show here, in the live generator's images, before the average that
samples has followed it.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from input_pipeline.errors import UserError
from input_pipeline.stream.train import eval_batches
from t2igan import images
from t2igan.metrics.statistics.variance_shares import variance_shares
from t2igan.models.text import Text
from t2igan.recipes.base import Network, Recipe
from t2igan.runtime.device import data_mesh
from t2igan.runtime.multihost import on_one_device
from t2igan.runtime.rng import example_noise, named_key
from t2igan.runtime.sharding import make_whole_fn
from t2igan.training.experiment import Experiment
from t2igan.training.state import TrainState

CAPTIONS, SAMPLES = 8, 4  # images drawn at each check: so few that it costs about a step


class Health:
    """Measures a state against the first real images of the training split, on one device."""

    def __init__(self, experiment: Experiment) -> None:
        """Reads the images and captions; compiles nothing yet.

        Raises:
          UserError: the training split has a single image.
        """
        config = experiment.config
        split = config.data.train_split
        recipe = experiment.recipe
        batch = next(
            eval_batches(
                experiment.dataset, split, batch_size=CAPTIONS, sentences=recipe.reads_sentences
            )
        )
        if len(batch["image"]) < 2:
            raise UserError(
                f"config.health compares images, and the split {split!r} has one: set "
                "config.health.every=0"
            )
        self._real = np.asarray(images.to_unit_range(batch["image"]))
        self._distance = mean_distance(_rows(self._real[None]))
        self._text = {name: batch[name] for name in recipe.text_inputs}
        self._key = named_key(jax.random.key(config.seed), "health")
        one = data_mesh(jax.local_devices()[:1])
        self._look = make_whole_fn(functools.partial(_look, recipe), one)

    def __call__(self, state: TrainState) -> dict[str, float]:
        """Returns {"health/diversity": ..., ...}, see `measures`."""
        variables = on_one_device((state.g_variables, state.d_variables))
        seen = jax.device_get(self._look(*variables, self._real, self._text, self._key))
        return measures(self._distance, **seen)


def measures(
    real_distance: float,
    *,
    image: np.ndarray,
    real_logits: np.ndarray,
    fake_logits: np.ndarray,
    other_logits: np.ndarray,
) -> dict[str, float]:
    """Returns numbers of a run's health, all but the logits' gaps between 0 and about 1.

    Args:
      real_distance: between two real images, see `mean_distance`.
      image: float32 [C, N, S, S, 3] N images for each of C captions, in [-1, 1].
      real_logits: [C] of the captions' own real images.
      fake_logits: [C, N] of the generated images with their captions.
      other_logits: [C, N] of the generated images with another caption each.

    Returns:
      health/diversity: distance between two images of one caption, as a share of that between
        two real ones; 0 where the noise is ignored.
      health/text_share: share of the images' variance that their captions explain; 0 where
        these are ignored.
      health/told_apart: share of pairs of a real and a generated image of one caption in which
        the real one has the higher logit.
      health/logit_gap/real: by how much on average; the slope of cross-entropy and relativistic
        losses is exp(-gap) there.
      health/logit_gap/text: mean logit with the own caption less that with another.
    """
    pictures = _rows(image)
    with np.errstate(all="ignore"):  # what is infinite comes out as such, or as no number
        ahead = real_logits[:, None] - fake_logits
        return {
            "health/diversity": mean_distance(pictures) / max(real_distance, 1e-12),
            "health/text_share": variance_shares(pictures)[0],
            "health/told_apart": float(np.mean(ahead > 0)),
            "health/logit_gap/real": float(np.mean(ahead)),
            "health/logit_gap/text": float(np.mean(fake_logits - other_logits)),
        }


def mean_distance(pictures: np.ndarray) -> float:
    """Root mean square difference of two images of a set, averaged over pairs and sets.

    Args:
      images: [sets, N, dim], N >= 2.
    """
    pairs = itertools.combinations(range(pictures.shape[1]), 2)
    squares = [np.mean((pictures[:, i] - pictures[:, j]) ** 2, axis=-1) for i, j in pairs]
    return float(np.mean(np.sqrt(squares)))


def _rows(image: np.ndarray) -> np.ndarray:
    """[sets, N, S, S, 3] -> [sets, N, dim]."""
    return image.reshape(*image.shape[:2], -1)


def _look(
    recipe: Recipe,
    g_variables: Any,
    d_variables: Any,
    real: jax.Array,
    text: Text,
    key: jax.Array,
) -> dict[str, jax.Array]:
    """The arrays that `measures` takes; sample k has the same noise for every caption.

    The discriminator judges as it does in training, real and generated images each by their own
    batch statistics: with running ones it tells them apart far less well than it has learned to.
    """
    captions = real.shape[0]
    own = jax.tree.map(lambda rows: jnp.repeat(rows, SAMPLES, axis=0), text)
    other = jax.tree.map(lambda rows: jnp.roll(rows, SAMPLES, axis=0), own)
    noise = example_noise(key, jnp.tile(jnp.arange(SAMPLES), captions), recipe.noise_dims)
    fake = recipe.generator.apply(g_variables, own, noise, train=False)["image"]

    def logits(image: jax.Array, caption: Text) -> jax.Array:
        return Network(recipe.discriminator, d_variables, train=True)(image, caption)

    shape = (captions, SAMPLES)
    return {
        "image": fake.astype(jnp.float32).reshape(*shape, *fake.shape[1:]),
        "real_logits": logits(real, text),
        "fake_logits": logits(fake, own).reshape(shape),
        "other_logits": logits(fake, other).reshape(shape),
    }
