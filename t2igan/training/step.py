"""The train step: a pure function of state and batch, for one replica of a named axis."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax

from t2igan.images import to_unit_range
from t2igan.losses.augmentation import augment, parse_policy
from t2igan.recipes.base import Batch, Generated, Metrics, Network, Recipe, Variables
from t2igan.runtime.device import AXIS
from t2igan.runtime.rng import example_keys, example_noise, named_key, step_key
from t2igan.training.optimizers import Optimizers
from t2igan.training.state import ScaledState, TrainState, update_ema


def train_step(
    state: TrainState,
    batch: Mapping[str, jax.Array],
    *,
    recipe: Recipe,
    optimizers: Optimizers,
    config: Any,
) -> tuple[TrainState, Metrics]:
    """Returns one update of both networks, from the same parameters and one generator pass.

    Both losses are differentiated at the state's parameters. The fakes are drawn once: the
    discriminator learns from them, and the generator's loss, as a function of them, is pulled
    back through the pass that drew them.

    Args:
      state: the same on every replica.
      batch: this replica's share, {"image": uint8 [b, S, S, 3], "codes": int32 [b, L]},
        and "sentence" [b, E] where the recipe reads it; "negative_codes" [m, L] and
        "negative_sentence" where it has extra negatives.
      recipe: networks and losses.
      optimizers: both networks'.
      config: seed and ema are read.

    Returns:
      The next state, and float32 [] metrics averaged over replicas.
    """
    key, places = step_key(config.seed, state.step), _places(batch)
    seen = _see(recipe, batch, example_keys(named_key(key, "losses"), places))
    noise = example_noise(key, recipe.noise_indices(places), recipe.noise_dims)

    def gradients(seen: Batch, noise: Variables) -> tuple[Any, ...]:
        return _gradients(state, seen, noise, recipe, config)

    found = _mean_over_parts(gradients, seen, noise, config.train.accumulate_steps)
    # Mapped without replication checking, a replica's gradient is of its own share alone.
    g_grads, d_grads, g_stats, d_stats, metrics = jax.lax.pmean(found, AXIS)
    metrics |= {
        "grad_norm/g": optax.tree.norm(g_grads),
        "grad_norm/d": optax.tree.norm(d_grads),
    }
    new = _updated(_updated(state, "g", g_grads, optimizers), "d", d_grads, optimizers)
    new = new.replace(step=state.step + 1, g_stats=g_stats, d_stats=d_stats)
    if state.ema is not None:
        live = {"params": new.g_params, "batch_stats": new.g_stats}
        options = {"decay": config.ema.decay, "ramp_steps": config.ema.ramp_steps}
        new = new.replace(ema=update_ema(state.ema, live, new.step, **options))
    return new, metrics


def _gradients(
    state: TrainState, seen: Batch, noise: Variables, recipe: Recipe, config: Any
) -> tuple[Any, ...]:
    """Gradients and new statistics of generator and discriminator, and metrics, of some examples.

    Returns:
      (generator's gradients, discriminator's, generator's statistics, discriminator's, metrics).
    """

    def generate(params: Variables) -> tuple[Mapping[str, jax.Array], Variables]:
        variables = state.g_variables | {"params": params}
        network = Network(recipe.generator, variables, train=True)
        return recipe.generate(network, seen, noise), network.stats

    maybe_remat = _remat if config.train.remat else lambda function: function
    generated, pull_back, g_stats = jax.vjp(maybe_remat(generate), state.g_params, has_aux=True)
    losses = _Losses(recipe, state, seen, config)
    d_value_and_grad = jax.value_and_grad(maybe_remat(losses.d), has_aux=True)
    (d_loss, (d_metrics, d_stats)), d_grads = d_value_and_grad(state.d_params, generated)
    g_value_and_grad = jax.value_and_grad(maybe_remat(losses.g), has_aux=True)
    (g_loss, g_metrics), g_cotangent = g_value_and_grad(generated)
    (g_grads,) = pull_back(g_cotangent)
    metrics = {"loss/d": d_loss, "loss/g": g_loss} | d_metrics | g_metrics
    return g_grads, d_grads, g_stats, d_stats, metrics


def _remat(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function that keeps for its gradient what convolutions and products return alone.

    What is between them (norms, activations, modulation, enlarging) is cheap and computed again.
    """

    def is_kept(primitive: Any, *_: Any, **__: Any) -> bool:
        return primitive.name in ("conv_general_dilated", "dot_general")

    return jax.checkpoint(function, policy=is_kept)


def _mean_over_parts(
    gradients: Callable[[Batch, Variables], tuple[Any, ...]],
    seen: Batch,
    noise: Variables,
    parts: int,
) -> tuple[Any, ...]:
    """What `gradients` gives, the mean over parts of the examples that are computed in turn.

    Losses are means over examples, so the mean over equal parts is that of the whole.
    """
    if parts == 1:
        return gradients(seen, noise)
    negatives = seen.extra_negatives
    split = jax.tree.map(
        lambda x: x.reshape(parts, x.shape[0] // parts, *x.shape[1:]),
        (seen.replace(extra_negatives={}), noise),
    )

    def of_part(part: Any) -> tuple[Any, ...]:
        examples, own_noise = part
        return gradients(examples.replace(extra_negatives=negatives), own_noise)

    def add(total: Any, part: Any) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, of_part(part)), None

    first = jax.tree.map(lambda x: x[0], split)
    shapes = jax.eval_shape(of_part, first)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    total, _ = jax.lax.scan(add, zeros, split)
    return jax.tree.map(lambda x: x / parts, total)


def d_warmup_step(
    state: TrainState,
    batch: Mapping[str, jax.Array],
    *,
    recipe: Recipe,
    optimizers: Optimizers,
    config: Any,
) -> tuple[TrainState, Metrics]:
    """Returns a step of the discriminator alone, on what it can learn of real images and captions.

    A function of its own and not a branch of `train_step`: on CPU, XLA computes what is inside a
    branch at about half the speed.

    Args and returns are as of `train_step`.
    """
    key = named_key(step_key(config.seed, state.step), "losses")
    seen = _see(recipe, batch, example_keys(key, _places(batch)))

    def loss(params: Variables) -> tuple[jax.Array, tuple[Metrics, Variables]]:
        network = Network(recipe.discriminator, state.d_variables | {"params": params}, train=True)
        value, metrics = recipe.d_warmup_loss(network, seen)
        return value, (metrics, network.stats)

    (value, (metrics, stats)), grads = jax.value_and_grad(loss, has_aux=True)(state.d_params)
    metrics = {"loss/d": value} | metrics
    grads, stats, metrics = jax.lax.pmean((grads, stats, metrics), AXIS)
    new = _updated(state, "d", grads, optimizers)
    metrics |= {"grad_norm/d": optax.tree.norm(grads)}
    return new.replace(step=state.step + 1, d_stats=stats), metrics


def eval_step(
    state: TrainState,
    batch: Mapping[str, jax.Array],
    key: jax.Array,
    *,
    recipe: Recipe,
) -> tuple[Metrics, jax.Array]:
    """Returns both losses on held-out images, with running statistics and the sampling generator.

    Args:
      state: the same on every replica.
      batch: as in `train_step`, with "index" int [b], which names each image's noise.
      key: of the noise.
      recipe: networks and losses.

    Returns:
      Metrics averaged over replicas, as in `train_step` without the gradients' norms.
    """
    seen = _see(recipe, batch, example_keys(named_key(key, "losses"), batch["index"]))
    noise = example_noise(key, recipe.noise_indices(batch["index"]), recipe.noise_dims)
    generator = Network(recipe.generator, state.sampling_variables, train=False)
    generated = recipe.generate(generator, seen, noise)
    discriminator = Network(recipe.discriminator, state.d_variables, train=False)
    d_loss, d_metrics = recipe.d_loss(discriminator, generated, seen)
    g_loss, g_metrics = _g_loss(recipe, discriminator, generated, generated, seen, seen.image)
    metrics = {"loss/d": d_loss, "loss/g": g_loss} | d_metrics | g_metrics
    return jax.lax.pmean(metrics, AXIS)


class _Losses:
    """The recipe's two losses as functions of what each is differentiated by.

    What every recipe may switch on is added here: augmentation of all that the discriminator is
    shown, and penalties that are taken only every so many steps.
    """

    def __init__(self, recipe: Recipe, state: TrainState, seen: Batch, config: Any) -> None:
        self._recipe, self._state = recipe, state
        self._policy = parse_policy(config.augment.policy)
        self._every = config.loss.penalty_interval
        self._image = seen.image
        self._seen = seen.replace(image=self._augmented(seen.image, seen.keys, "real"))

    def d(self, params: Variables, generated: Generated) -> tuple[jax.Array, Any]:
        network = self._network({"params": params})
        generated = self._shown(generated)
        loss, metrics = self._recipe.d_loss(network, generated, self._seen)
        penalties = self._penalties(network.in_float32(), generated)
        return loss + sum(penalties.values()), (metrics | penalties, network.stats)

    def g(self, generated: Generated) -> tuple[jax.Array, Metrics]:
        shown = self._shown(generated)
        network = self._network({})
        return _g_loss(self._recipe, network, shown, generated, self._seen, self._image)

    def _penalties(self, network: Network, generated: Generated) -> Metrics:
        def penalties() -> Metrics:
            found = self._recipe.penalties(network, generated, self._seen)
            return {name: self._every * value for name, value in found.items()}

        if self._every == 1:
            return penalties()
        none = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(penalties))
        return jax.lax.cond(self._state.step % self._every == 0, penalties, lambda: none)

    def _shown(self, generated: Generated) -> Generated:
        image, keys = generated["image"], self._seen.keys
        if self._recipe.doubles:  # each of a caption's two is augmented in its own way
            second = jax.vmap(lambda key: named_key(key, "second"))(keys)
            keys = jnp.stack([keys, second], axis=1).reshape(-1)
        return {**generated, "image": self._augmented(image, keys, "fake")}

    def _augmented(self, image: jax.Array, keys: jax.Array, name: str) -> jax.Array:
        own = jax.vmap(lambda key: named_key(key, name))(keys)
        return augment(image, own, self._policy)

    def _network(self, replaced: Variables) -> Network:
        variables = self._state.d_variables | replaced
        return Network(self._recipe.discriminator, variables, train=True)


def _g_loss(
    recipe: Recipe,
    discriminator: Network,
    shown: Generated,
    generated: Generated,
    seen: Batch,
    image: jax.Array,
) -> tuple[jax.Array, Metrics]:
    """The recipe's loss of what the discriminator sees, and its terms of the images themselves."""
    loss, metrics = recipe.g_loss(discriminator, shown, seen)
    terms = recipe.image_terms(generated, image)
    return loss + sum(terms.values()), metrics | terms


def _see(recipe: Recipe, batch: Mapping[str, jax.Array], keys: jax.Array) -> Batch:
    text = {name: batch[name] for name in recipe.text_inputs}
    if "sentence" in text:  # travels as 16 bits
        text["sentence"] = text["sentence"].astype(jnp.float32)
    wrong = {name: roll_over_replicas(value) for name, value in text.items()}
    negatives = {name: batch[f"negative_{name}"] for name in text if f"negative_{name}" in batch}
    if "sentence" in negatives:
        negatives["sentence"] = negatives["sentence"].astype(jnp.float32)
    return Batch(to_unit_range(batch["image"]), text, wrong, keys, negatives)


def roll_over_replicas(x: jax.Array) -> jax.Array:
    """Returns x [b, ...] moved on by one place in the whole batch, the last row first."""
    replicas = jax.lax.axis_size(AXIS)
    ring = [(replica, (replica + 1) % replicas) for replica in range(replicas)]
    return jnp.concatenate([jax.lax.ppermute(x[-1:], AXIS, ring), x[:-1]])


def _places(batch: Mapping[str, jax.Array]) -> jax.Array:
    """Returns int32 [b]: each example's place in the whole batch."""
    share = batch["image"].shape[0]
    return jax.lax.axis_index(AXIS) * share + jnp.arange(share)


def _updated(
    state: TrainState, network: Literal["g", "d"], grads: Variables, optimizers: Optimizers
) -> TrainState:
    """The state after one network's step; the steps done are not counted here."""
    params, opt = getattr(state, f"{network}_params"), getattr(state, f"{network}_opt")
    updates, opt = getattr(optimizers, network).update(grads, opt, params)
    if isinstance(state, ScaledState):  # Adam's updates are proportional to its rate
        updates = optax.tree.scale(state.learning_rate_scale, updates)
    new = {f"{network}_params": optax.apply_updates(params, updates), f"{network}_opt": opt}
    return state.replace(**new)
