"""Large matrix products: the rate that a step's arithmetic is held to. Settings: size, dtype."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

VERSIONS = {"jax": jax.__version__}


class Competitor:
    """What child.py drives; a step is one product of two [size, size] matrices."""

    def __init__(self, _: dict[str, np.ndarray], settings: dict[str, Any]) -> None:
        shape = (settings["size"], settings["size"])
        one, other = jax.random.split(jax.random.key(0))
        self.left = jax.random.normal(one, shape, settings["dtype"])
        self.right = jax.random.normal(other, shape, settings["dtype"])
        self.multiply = jax.jit(jnp.matmul)
        self.last: Any = None

    def step(self) -> None:
        """One product."""
        self.last = self.multiply(self.left, self.right)

    def wait(self) -> None:
        """Returns when all is computed."""
        jax.block_until_ready(self.last)
