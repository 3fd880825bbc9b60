"""The train state: all that a step changes, and the frozen variables."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from t2igan.models.text import FROZEN, frozen_variables
from t2igan.recipes.base import Recipe, Variables
from t2igan.runtime.rng import named_key
from t2igan.training.optimizers import Optimizers


@flax.struct.dataclass
class TrainState:
    """Two networks, two optimizers and the generator's moving average.

    Attributes:
      step: int32 [] steps done.
      g_params, d_params: trained parameters.
      g_stats, d_stats: running statistics of batch norm; empty where there is none.
      g_opt, d_opt: optax states.
      ema: {"params", "batch_stats"} of the EMA generator, or None where it is off.
      frozen: word vectors, shared by both networks, and the first stage where there is one.
    """

    step: jax.Array
    g_params: Variables
    d_params: Variables
    g_stats: Variables
    d_stats: Variables
    g_opt: Any
    d_opt: Any
    ema: Variables | None
    frozen: Variables

    @property
    def g_variables(self) -> dict[str, Variables]:
        """The live generator's variables."""
        return {"params": self.g_params, "batch_stats": self.g_stats, FROZEN: self.frozen}

    @property
    def d_variables(self) -> dict[str, Variables]:
        """The discriminator's variables."""
        return {"params": self.d_params, "batch_stats": self.d_stats, FROZEN: self.frozen}

    @property
    def sampling_variables(self) -> dict[str, Variables]:
        """The generator that generates images: the averaged one where there is one."""
        return self.g_variables | (self.ema or {})

    @property
    def saved(self) -> TrainState:
        """What a checkpoint's item `state` holds of it."""
        return self


@flax.struct.dataclass
class ScaledState(TrainState):
    """A state whose optimizers' steps are scaled: another scale compiles nothing anew.

    Attributes:
      learning_rate_scale: float32 [] what both learning rates are multiplied by. Not in the item
        `state`, which so is the same with and without: a checkpoint's `meta` has it.
    """

    learning_rate_scale: jax.Array

    @property
    def saved(self) -> TrainState:
        """What a checkpoint's item `state` holds of it."""
        names = [field.name for field in dataclasses.fields(TrainState)]
        return TrainState(**{name: getattr(self, name) for name in names})


def create_state(
    recipe: Recipe,
    optimizers: Optimizers,
    word_vectors: np.ndarray,
    caption_length: int,
    *,
    seed: int,
    ema: bool,
    stage1: Variables | None = None,
    sentence_shape: tuple[int, ...] = (),
) -> TrainState:
    """Returns the state before the first step.

    Args:
      recipe: its networks are initialized.
      optimizers: both networks'.
      word_vectors: float32 [V, D].
      caption_length: L, codes a caption.
      seed: of the initial parameters.
      ema: keep an EMA generator.
      stage1: of the finished generator that this one builds on, see `frozen_variables`.
      sentence_shape: of a sentence embedding, for a recipe that reads them: [E], or [1 + T, E].
    """
    stage1 = jax.tree.map(jnp.asarray, stage1)
    frozen = frozen_variables(jnp.asarray(word_vectors, jnp.float32), stage1)

    def create(key: jax.Array, frozen: Variables) -> tuple[dict, dict, Any, Any]:
        g, d = _init_networks(recipe, key, frozen, caption_length, sentence_shape)
        return g, d, optimizers.g.init(g["params"]), optimizers.d.init(d["params"])

    g, d, g_opt, d_opt = _run_once(create, named_key(jax.random.key(seed), "init"), frozen)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        g_params=g["params"],
        d_params=d["params"],
        g_stats=g["batch_stats"],
        d_stats=d["batch_stats"],
        g_opt=g_opt,
        d_opt=d_opt,
        # Copies: the step donates the state, and one buffer cannot be given away twice.
        ema=jax.tree.map(jnp.copy, g) if ema else None,
        frozen=frozen,
    )


def _run_once(function: Callable[..., Any], *inputs: Any) -> Any:
    """One program, compiled without optimizing: compiling is most of a start-up's time."""
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(inputs)):
        return function(*inputs)  # only its shapes are asked for
    options = {"xla_backend_optimization_level": 0}
    return jax.jit(function, compiler_options=options)(*inputs)


def _init_networks(
    recipe: Recipe,
    key: jax.Array,
    frozen: Variables,
    caption_length: int,
    sentence_shape: tuple[int, ...],
) -> tuple[dict, dict]:
    """Returns the generator's and the discriminator's {"params", "batch_stats"}."""
    size = recipe.image_size
    text = {"codes": jnp.zeros((2, caption_length), jnp.int32)}
    if recipe.reads_sentences:
        text["sentence"] = jnp.zeros((2, *sentence_shape))
    noise = {name: jnp.zeros((2, dim)) for name, dim in recipe.noise_dims.items()}
    g = _init(recipe.generator, named_key(key, "g"), frozen, text, noise)
    image = jnp.zeros((2, size, size, 3))
    return g, _init(recipe.discriminator, named_key(key, "d"), frozen, image, text)


def _init(module: nn.Module, key: jax.Array, frozen: Variables, *inputs: Any) -> dict:
    """Returns {"params", "batch_stats"}: `apply` rather than `init`, to bring the word vectors."""
    _, made = module.apply(
        {FROZEN: frozen},
        *inputs,
        train=False,
        mutable=["params", "batch_stats"],
        rngs={"params": key},
    )
    return {"batch_stats": {}} | made


def update_ema(
    ema: Variables, variables: Variables, step: jax.Array, *, decay: float, ramp_steps: int
) -> Variables:
    """Exponential moving EMA generator, batch statistics with it.

    Args:
      ema: the average so far.
      variables: the live values, the same tree.
      step: int [] steps done, this one included.
      decay: of the average, a step.
      ramp_steps: the decay is at most (1 + step) / (ramp_steps + step), so that the first
        images do not come from the initial weights; 0 for no ramp.
    """
    if ramp_steps:
        decay = jnp.minimum(decay, (1.0 + step) / (ramp_steps + step))
    return jax.tree.map(lambda old, new: new + decay * (old - new), ema, variables)
