"""Starting a run from the networks of another: what fits by name and shape, optimizers anew."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from input_pipeline.errors import UserError
from t2igan.runtime import paths
from t2igan.runtime.multihost import is_first_process
from t2igan.runtime.trees import names
from t2igan.training.state import TrainState
from t2igan.workdir.checkpoints import restore_item

_SHOWN = 8  # arrays that did not fit, by name


def with_networks_of(state: TrainState, run: str) -> TrainState:
    """Returns a new run's state with another run's parameters, statistics and EMA generator.

    What has another name or shape there stays as it was initialized, and is listed on stderr. Word
    vectors and the first stage are the new run's own, and its optimizers start anew.

    Args:
      state: before the first step.
      run: folder or URL of the run; its newest whole checkpoint is read.

    Raises:
      UserError: there is no such run, or nothing in it fits.
    """
    workdir = paths.local(run)
    if not Path(workdir).is_dir():
        raise UserError(f"config.init_from={run} is not a run's folder")
    step, saved = restore_item(workdir, "latest", "state")
    taken, left = 0, []
    new: dict[str, Any] = {}
    for part in ("g_params", "g_stats", "d_params", "d_stats", "ema"):
        own, others = getattr(state, part), saved.get(part)
        if part == "ema" and own is not None and not others:
            others = {"params": saved["g_params"], "batch_stats": saved.get("g_stats") or {}}
        merged, fits, misfits = _merged(own, others or {}, part)
        new[part] = merged
        taken += fits
        left += misfits
    if not taken:
        raise UserError(
            f"config.init_from={run}: none of its arrays fits this model; its recipe, width and "
            "image size are to be those of the new run"
        )
    if is_first_process():
        more = f", and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
        rest = f"; not there: {', '.join(left[:_SHOWN])}{more}" if left else ""
        print(f"init_from {run}: {taken} arrays of step {step}{rest}", file=sys.stderr)
    return state.replace(**new)


def _merged(own: Any, others: Any, part: str) -> tuple[Any, int, list[str]]:
    """The tree with the other's leaves where they fit, how many do, and the names of the rest."""
    known = dict(zip(names(others), jax.tree.leaves(others), strict=True))
    leaves, structure = jax.tree.flatten(own)
    merged, misfits = [], []
    for name, leaf in zip(names(own), leaves, strict=True):
        other = known.get(name)
        fits = other is not None and tuple(other.shape) == tuple(leaf.shape)
        if not fits:
            misfits.append(f"{part}/{name}")
        merged.append(jnp.asarray(other, leaf.dtype) if fits else leaf)
    return jax.tree.unflatten(structure, merged), len(leaves) - len(misfits), misfits
