"""Train and eval steps mapped over devices and compiled.

Replicas hold the same state and each a share of the batch. The mapped function averages its own
gradients over the axis. Replication checking is off: with it, JAX would sum the gradients of
replicated parameters by itself and the average would be too large by the number of devices.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from input_pipeline.errors import UserError
from t2igan.recipes.base import Metrics, Recipe
from t2igan.runtime.device import AXIS
from t2igan.runtime.sharding import replicate, shard_map
from t2igan.training.optimizers import Optimizers
from t2igan.training.state import TrainState
from t2igan.training.step import d_warmup_step, eval_step, train_step

StepFunction = Callable[[TrainState, Any], tuple[TrainState, Metrics]]
MAPPERS = ("shard_map", "pmap")


def make_train_step(
    recipe: Recipe, optimizers: Optimizers, config: Any, mesh: Mesh, *, d_warmup: bool = False
) -> StepFunction:
    """Returns (state, batch) -> (state, metrics), compiled, over the mesh's axis "data".

    The state is replicated and given away (donated); the batch is split over its first axis.
    With `d_warmup` it is the step of the discriminator alone.

    Raises:
      UserError: `config.train.mapper` is neither "shard_map" nor "pmap".
    """
    function = d_warmup_step if d_warmup else train_step
    step = functools.partial(function, recipe=recipe, optimizers=optimizers, config=config)
    mapper = config.train.mapper
    if mapper == "shard_map":
        return jax.jit(shard_map(step, mesh, (P(), P(AXIS)), P()), donate_argnums=0)
    if mapper == "pmap":
        return _pmap(step, mesh)
    raise UserError(f"config.train.mapper={mapper!r}: must be one of {', '.join(MAPPERS)}.")


def make_eval_step(recipe: Recipe, mesh: Mesh) -> Callable[[TrainState, Any, jax.Array], Metrics]:
    """Returns (state, batch, key) -> metrics; the batch has "index" too (see `eval_step`)."""
    step = functools.partial(eval_step, recipe=recipe)
    return jax.jit(shard_map(step, mesh, (P(), P(AXIS), P()), P()))


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
