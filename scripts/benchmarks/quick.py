"""The quick form: every fast form equals the plain one, and so does a whole step of them."""

from __future__ import annotations

import time
from typing import Any

import jax
import numpy as np
from benchmarks import forms, machine, problem
from benchmarks.contest import differences
from jax.flatten_util import ravel_pytree

from input_pipeline.errors import UserError
from t2igan.models.conv import dispatch as fast_forms
from t2igan.runtime import device, sharding
from t2igan.training import compile as compiled

# Of the largest value of each array; a step is ten layers and back, each rounded its own way.
STEP_TOLERANCE = 1e-4
BATCH, STEPS, IMAGE_SIZE = 8, 3, 16
# Narrow, but wide enough for each form that the StackGAN baseline's networks are computed in.
NARROW = {"model.gf_dim": 8, "model.df_dim": 16}


def measure() -> dict[str, Any]:
    """Returns the differences of every form and of a step, and a narrow step's time.

    Raises:
      UserError: a fast form computes something else than the plain one.
    """
    found = forms.check()
    print(f"{len(found)} forms equal the plain ones to {max(found.values()):.1e}")
    config = problem.make_config(**NARROW)
    recipe, optimizers = problem.make_recipe(config, IMAGE_SIZE)
    state = jax.device_get(problem.make_state(config, recipe, optimizers))

    def step() -> tuple[dict[str, np.ndarray], float]:
        return _step(state, recipe, optimizers, config)

    fast, seconds = step()
    with fast_forms.only("plain"):
        plain, plain_seconds = step()
    step = differences(fast, plain)
    name = max(step, key=step.get)
    if not step[name] <= STEP_TOLERANCE:
        raise UserError(
            f"a step in fast forms differs from one in plain forms: {name} by {step[name]:.1e} of "
            f"its largest value, allowed is {STEP_TOLERANCE:.0e}"
        )
    print(f"a step in fast forms equals one in plain forms to {step[name]:.1e}")
    print(
        f"a narrow step takes {seconds * 1e3:.1f} ms, in plain forms {plain_seconds * 1e3:.1f} ms"
    )
    return {
        "machine": machine.describe(),
        "forms": found,
        "step": step,
        "step_seconds": seconds,
        "plain_step_seconds": plain_seconds,
    }


def _step(
    state: Any, recipe: Any, optimizers: Any, config: Any
) -> tuple[dict[str, np.ndarray], float]:
    """What a step comes to, gradients with it, and the seconds of a later one.

    Adam's first moment after one step is (1 - beta1) times the gradient.
    """
    mesh = device.data_mesh(jax.devices()[:1])
    with jax.default_matmul_precision("highest"):
        state = sharding.replicate(state, mesh)
        batch = device.put(problem.make_batch(BATCH, IMAGE_SIZE), mesh)
        train = compiled.make_train_step(recipe, optimizers, config, mesh)
        state, metrics = train(state, batch)
        found = jax.device_get({"g": state.g_opt[0].mu, "d": state.d_opt[0].mu, **metrics})
        start = time.perf_counter()
        for _ in range(STEPS):
            state, metrics = train(state, batch)
        jax.block_until_ready(metrics)
    seconds = (time.perf_counter() - start) / STEPS
    # A network's gradients end to end: some, as of a bias before batch norm, are rounding alone.
    return {name: ravel_pytree(tree)[0] for name, tree in found.items()}, seconds
