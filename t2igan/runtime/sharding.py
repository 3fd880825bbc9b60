"""Arrays and functions over the devices of a mesh.

Replication checking is off: with it, JAX would sum the gradients of replicated parameters by
itself, and an average taken by the function would be too large by the number of devices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P


def replicate(tree: Any, mesh: Mesh) -> Any:
    """Returns the tree with each array whole on every device of the mesh."""
    return jax.device_put(tree, NamedSharding(mesh, P()))


def shard_map(function: Callable, mesh: Mesh, in_specs: Any, out_specs: Any) -> Callable:
    """Returns the per-replica function, mapped over the mesh; specs as `jax.shard_map` takes."""
    return jax.shard_map(
        function, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False
    )


def make_whole_fn(function: Callable, mesh: Mesh) -> Callable:
    """Returns the function, compiled, with all that it takes and returns whole on every device."""
    return jax.jit(shard_map(function, mesh, P(), P()))
