"""The protocol of a recipe: two networks and two losses.

A new GAN is one new file beside this one, with `build(config, image_size) -> Recipe`; one that
draws on a finished run's images has `build_on(stage1, config, image_size)` too.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from input_pipeline.errors import UserError
from t2igan.losses import gradient_penalties
from t2igan.losses.diversity import diversity, pairs
from t2igan.models.text import Text
from t2igan.runtime.device import AXIS

Variables = Mapping[str, Any]
Metrics = dict[str, jax.Array]
Generated = Mapping[str, jax.Array]


@flax.struct.dataclass
class Batch:
    """What the losses see of a batch.

    Attributes:
      image: float32 [B, S, S, 3] in [-1, 1].
      text: the images' own captions, {"codes": int32 [B, L]}, and "sentence" float32 [B, E] where
        the recipe reads it.
      mismatched_text: captions of other images.
      keys: [B] random keys, each its example's own.
      extra_negatives: M more captions, without their images; {} where the recipe asks for none.
    """

    image: jax.Array
    text: Text
    mismatched_text: Text
    keys: jax.Array
    extra_negatives: Text = flax.struct.field(default_factory=dict)


class Network:
    """A module with its variables, called by method name; collects the new batch statistics.

    Within one loss a network is called several times; each call sees the statistics the one
    before it left, and `.stats` holds the last.
    """

    def __init__(self, module: nn.Module, variables: Variables, *, train: bool) -> None:
        self._module = module
        self._variables = dict(variables)
        self._train = train

    def __call__(self, *args: Any, method: str = "__call__") -> Any:
        if not self._train:
            return self._module.apply(self._variables, *args, train=False, method=method)
        out, new = self._module.apply(
            self._variables, *args, train=True, method=method, mutable=["batch_stats"]
        )
        self._variables |= new
        return out

    def copy(self) -> Network:
        """Returns the same network, its statistics kept apart from this one's."""
        return Network(self._module, self._variables, train=self._train)

    def in_float32(self) -> Network:
        """Returns the network computing in float32, its statistics kept apart from this one's."""
        module = self._module.clone(dtype=jnp.float32)
        return Network(module, self._variables, train=self._train)

    @property
    def stats(self) -> Variables:
        """The collection `batch_stats` after the calls so far; empty where there is none."""
        return self._variables.get("batch_stats", {})


@dataclasses.dataclass(frozen=True)
class Recipe(abc.ABC):
    """Which networks, which losses.

    Attributes:
      generator: called as (text, noise, train=) -> {"image", ...}.
      discriminator: (image, text, train=) -> logits [B], reaching all its parameters; the losses
        may call its other methods.
      noise_dims: width of each named noise that the generator takes, all standard normal.
      image_size: S in pixels.
      r1_weight: twice the weight of the gradient penalty on real images.
      r2_weight: the same on generated images.
      penalty_form: of both, see `gradient_penalties.zero_centred`.
      diversity_weight: of the diversity loss; where it is not 0, two generated images after
        another are of one caption, the first one's.
      diversity_every_caption: then two are generated of each, twice as many as real images.
      diversity_target: of that loss, see `losses.diversity`.
      text_inputs: what of a caption the networks read: "codes", and "sentence" or not.
      extra_negatives: captions a step over all replicas of `Batch.extra_negatives`.
      d_warmup_steps: first steps of a run, in which `d_warmup_loss` alone is learned.
    """

    generator: nn.Module
    discriminator: nn.Module
    noise_dims: Mapping[str, int]
    image_size: int
    r1_weight: float = 0.0
    r2_weight: float = 0.0
    penalty_form: str = "exact"
    diversity_weight: float = 0.0
    diversity_target: float = 0.75
    diversity_every_caption: bool = False
    text_inputs: tuple[str, ...] = ("codes",)
    extra_negatives: int = 0
    d_warmup_steps: int = 0

    @property
    def reads_sentences(self) -> bool:
        """Whether the networks read the stored sentence embeddings."""
        return "sentence" in self.text_inputs

    @abc.abstractmethod
    def d_loss(
        self, discriminator: Network, generated: Generated, batch: Batch
    ) -> tuple[jax.Array, Metrics]:
        """Discriminator's loss and its parts.

        Args:
          discriminator: with the parameters to differentiate.
          generated: the generator's outputs, cut from its gradient.
          batch: real images and captions.
        """

    @abc.abstractmethod
    def g_loss(
        self, discriminator: Network, generated: Generated, batch: Batch
    ) -> tuple[jax.Array, Metrics]:
        """Generator's loss and its parts, as a function of what it generated."""

    def generate(self, generator: Network, batch: Batch, noise: Variables) -> Generated:
        """Returns the generator's outputs, "image" [B, S, S, 3] among them.

        Args:
          generator: with the parameters to differentiate.
          batch: its captions are generated for.
          noise: what `noise_dims` names, a row for each of `noise_indices`.
        """
        return generator(self.in_pairs(batch.text), noise)

    @property
    def doubles(self) -> bool:
        """Whether two images are generated of every caption."""
        return self.diversity_every_caption and self.diversity_weight > 0

    def noise_indices(self, indices: jax.Array) -> jax.Array:
        """Returns int [B] or [2 B]: which noise of the step each generated image takes.

        Args:
          indices: int [B], different for each example of the whole batch.
        """
        if not self.doubles:
            return indices
        return jnp.stack([2 * indices, 2 * indices + 1], axis=1).reshape(-1)

    def per_image(self, x: Any) -> Any:
        """Returns what each generated image is compared with, of what belongs to each real one."""
        return jax.tree.map(_twice, x) if self.doubles else x

    def in_pairs(self, x: Any) -> Any:
        """Returns what belongs to each generated image, of what belongs to each caption [B, ...].

        The same, unless the diversity loss has two images drawn of a caption.
        """
        if not self.diversity_weight:
            return x
        if self.doubles:
            return jax.tree.map(_twice, x)

        def paired(rows: jax.Array) -> jax.Array:
            source = np.arange(rows.shape[0])
            first, second = pairs(rows.shape[0])
            source[second] = first
            return rows[source]

        return jax.tree.map(paired, x)

    def with_diversity(
        self, loss: jax.Array, metrics: Metrics, features: Any
    ) -> tuple[jax.Array, Metrics]:
        """Returns the generator's loss and metrics with the diversity loss, where it is on.

        Args:
          loss: [] without it.
          metrics: its parts.
          features: of the generated images, what the discriminator's `image_features` returned:
            an array [B, ...], or several, of which the last is compared.

        Raises:
          UserError: a single image on a device: no pair.
        """
        if not self.diversity_weight:
            return loss, metrics
        last = jax.tree.leaves(features)[-1]
        if last.shape[0] < 2:
            raise UserError(
                "loss.diversity_weight compares two images of a caption, and each device has one "
                "image: raise train.batch_size or set loss.diversity_weight=0"
            )
        term, distance = diversity(last, self.diversity_target, AXIS)
        parts = {"loss/diversity": term, "diversity/pairs": distance}
        return loss + self.diversity_weight * term, metrics | parts

    def image_terms(self, generated: Generated, image: jax.Array) -> Metrics:
        """Returns weighted terms of the generator's loss that do not involve the discriminator.

        Apart from `g_loss`, which sees images as the discriminator does, augmented.

        Args:
          generated: what `generate` returned.
          image: [B, S, S, 3] real images.
        """
        return {}

    def d_warmup_loss(self, discriminator: Network, batch: Batch) -> tuple[jax.Array, Metrics]:
        """Returns what the discriminator learns alone, before there is anything generated to judge.

        Returns its loss, and its parts under names that `d_loss` has too.
        """
        raise NotImplementedError(
            f"{type(self).__name__} gives the discriminator no discriminator warm-up"
        )

    def penalties(self, discriminator: Network, generated: Generated, batch: Batch) -> Metrics:
        """Weighted penalties on the discriminator, by metric name; empty where there are none.

        Apart from the loss because they may be taken less often than every step. The network
        computes in float32.
        """

        def penalty(images: jax.Array, text: Text, keys: jax.Array) -> jax.Array:
            def logits(image: jax.Array) -> jax.Array:
                # Batch statistics of a call inside a derivative must not outlive it.
                return discriminator.copy()(image, text)

            return gradient_penalties.zero_centred(logits, images, keys, self.penalty_form)

        found = {}
        if self.r1_weight:
            found["loss/r1"] = 0.5 * self.r1_weight * penalty(batch.image, batch.text, batch.keys)
        if self.r2_weight:
            text, keys = self.in_pairs(batch.text), self.per_image(batch.keys)
            found["loss/r2"] = 0.5 * self.r2_weight * penalty(generated["image"], text, keys)
        return found


def _twice(rows: jax.Array) -> jax.Array:
    return rows[np.repeat(np.arange(rows.shape[0]), 2)]


def mean_logits(**logits: jax.Array) -> Metrics:
    """Returns the metrics logits/NAME, each a mean over the batch."""
    return {f"logits/{name}": jnp.mean(value) for name, value in logits.items()}


def shared_options(config: Any) -> dict[str, Any]:
    """Returns the fields of every `Recipe` that a config sets alike for all of them."""
    if config.loss.penalty_form not in gradient_penalties.FORMS:
        raise ValueError(
            f"loss.penalty_form={config.loss.penalty_form!r}: must be one of "
            f"{', '.join(gradient_penalties.FORMS)}"
        )
    return {
        "r1_weight": config.loss.r1_weight,
        "r2_weight": config.loss.r2_weight,
        "penalty_form": config.loss.penalty_form,
        "diversity_weight": config.loss.diversity_weight,
        "diversity_target": config.loss.diversity_target,
        "diversity_every_caption": config.loss.diversity_every_caption,
    }
