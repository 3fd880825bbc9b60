"""A per-replica function, mapped over the devices of a mesh.

Replicas hold the same state and each a share of the batch. The mapped function averages its own
gradients over the axis. Replication checking is off: with it, JAX would sum the gradients of
replicated parameters by itself and the average would be too large by the number of devices.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from input_pipeline.device import AXIS
from input_pipeline.errors import UserError
from t2igan.recipes.base import Metrics, Recipe
from t2igan.training.optimizers import Optimizers
from t2igan.training.randomness import example_noise
from t2igan.training.state import TrainState
from t2igan.training.step import eval_step, head_start_step, train_step

StepFunction = Callable[[TrainState, Any], tuple[TrainState, Metrics]]
MAPPERS = ("shard_map", "pmap")


def replicate(tree: Any, mesh: Mesh) -> Any:
    """Returns the tree with each array whole on every device of the mesh."""
    return jax.device_put(tree, NamedSharding(mesh, P()))


def make_train_step(
    recipe: Recipe, optimizers: Optimizers, config: Any, mesh: Mesh, *, head_start: bool = False
) -> StepFunction:
    """Returns (state, batch) -> (state, metrics), compiled, over the mesh's axis "data".

    The state is replicated and given away (donated); the batch is split over its first axis.
    With `head_start` it is the step of the discriminator alone.

    Raises:
      UserError: `config.train.mapper` is neither "shard_map" nor "pmap".
    """
    function = head_start_step if head_start else train_step
    step = functools.partial(function, recipe=recipe, optimizers=optimizers, config=config)
    mapper = config.train.mapper
    if mapper == "shard_map":
        return jax.jit(_shard_map(step, mesh, (P(), P(AXIS)), P()), donate_argnums=0)
    if mapper == "pmap":
        return _pmap(step, mesh)
    raise UserError(f"config.train.mapper={mapper!r}: must be one of {', '.join(MAPPERS)}.")


def make_eval_step(recipe: Recipe, mesh: Mesh) -> Callable[[TrainState, Any, jax.Array], Metrics]:
    """Returns (state, batch, key) -> metrics; the batch has "index" too (see `eval_step`)."""
    step = functools.partial(eval_step, recipe=recipe)
    return jax.jit(_shard_map(step, mesh, (P(), P(AXIS), P()), P()))


def make_sample_fn(recipe: Recipe, mesh: Mesh) -> Callable[..., jax.Array]:
    """Returns (variables, text, indices, key, truncation=1.0) -> float32 [B, S, S, 3] in [-1, 1].

    Each picture's noise depends on the key and its index alone, so that the same index gives the
    same picture in any batch on any number of devices. The noise is scaled by the truncation.
    """

    def sample(
        variables: Any, text: Any, indices: jax.Array, key: jax.Array, truncation: jax.Array
    ) -> jax.Array:
        noise = example_noise(key, indices, recipe.noise_dims)
        noise = jax.tree.map(lambda one: one * truncation, noise)
        return _draw(recipe, variables, text, noise)

    mapped = jax.jit(_shard_map(sample, mesh, (P(), P(AXIS), P(AXIS), P(), P()), P(AXIS)))

    def call(
        variables: Any, text: Any, indices: jax.Array, key: jax.Array, truncation: float = 1.0
    ) -> jax.Array:
        return mapped(variables, text, indices, key, jnp.float32(truncation))

    return call


def make_draw_fn(recipe: Recipe, mesh: Mesh) -> Callable[..., jax.Array]:
    """Returns (variables, text, noise) -> float32 [B, S, S, 3] in [-1, 1], of any noise."""
    draw = functools.partial(_draw, recipe)
    return jax.jit(_shard_map(draw, mesh, (P(), P(AXIS), P(AXIS)), P(AXIS)))


def make_whole_fn(function: Callable, mesh: Mesh) -> Callable:
    """Returns the function, compiled, with all that it takes and returns whole on every device."""
    return jax.jit(_shard_map(function, mesh, P(), P()))


def _draw(recipe: Recipe, variables: Any, text: Any, noise: Any) -> jax.Array:
    return recipe.generator.apply(variables, text, noise, train=False)["image"]


def _shard_map(function: Callable, mesh: Mesh, in_specs: Any, out_specs: Any) -> Callable:
    return jax.shard_map(
        function, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False
    )


def _pmap(step: StepFunction, mesh: Mesh) -> StepFunction:
    """`jax.pmap` behind the same call: it wants a leading axis of devices on the batch."""
    mapped = jax.pmap(
        step, axis_name=AXIS, in_axes=(None, 0), out_axes=None, devices=list(mesh.devices.flat)
    )
    split = jax.jit(
        lambda x: x.reshape(mesh.size, -1, *x.shape[1:]),
        out_shardings=NamedSharding(mesh, P(AXIS)),
    )

    def call(state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        new, metrics = mapped(state, jax.tree.map(split, batch))
        return replicate(new, mesh), metrics

    return call
