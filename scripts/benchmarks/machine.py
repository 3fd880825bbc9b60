"""The machine and the versions that figures belong to, its matrix rate, and a step's arithmetic."""

from __future__ import annotations

import contextlib
import os
import platform
import statistics
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
from benchmarks import problem as problems
from benchmarks.competitors import Competitor
from benchmarks.contest import compete

from t2igan.models.conv import dispatch as fast_forms
from t2igan.runtime import device
from t2igan.training import compile as compiled

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")


def describe() -> dict[str, Any]:
    """Returns processor, cores, device, system and versions of this process."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "device": jax.devices()[0].device_kind,
        "system": platform.platform(),
        "versions": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in _PACKAGES},
        },
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model n"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def matrix_rates(
    pythons: Mapping[str, str], folder: Path, *, rounds: int, turn_seconds: float
) -> dict[str, float]:
    """Returns dtype -> FLOP/s of large square matrix products in JAX, medians of turns."""
    # Large enough to reach the peak, small enough for many in a turn.
    size = 2048 if on_cpu() else 8192
    dtypes = ("float32", "bfloat16")
    products = [Competitor(one, "matrix_peer", {"size": size, "dtype": one}) for one in dtypes]
    nothing = problems.write_batch(folder / "nothing.npz", 1, 8)
    found = compete(
        products,
        pythons,
        lambda _: nothing,
        "train",
        folder,
        rounds=rounds,
        turn_seconds=turn_seconds,
        check=False,
    )
    return {name: 2 * size**3 / statistics.median(one["seconds"]) for name, one in found.items()}


def step_flops(
    batch_size: int,
    form: str | None = None,
    image_size: int = problems.IMAGE_SIZE,
    config: Mapping[str, Any] | None = None,
) -> float:
    """Returns the floating-point operations of a train step, as XLA counts them.

    Args:
      batch_size: images.
      form: "plain" counts every convolution as it is written down; None as it is computed.
      image_size: pixels.
      config: fields that differ from the report's.
    """
    config = problems.make_config(**(config or {}))
    recipe, optimizers = problems.make_recipe(config, image_size)
    mesh = device.data_mesh(jax.devices()[:1])
    state = jax.eval_shape(lambda: problems.make_state(config, recipe, optimizers))
    step = compiled.make_train_step(recipe, optimizers, config, mesh)
    with fast_forms.only(form) if form else contextlib.nullcontext():
        lowered = step.lower(state, problems.make_batch(batch_size, image_size))
    return lowered.cost_analysis()["flops"]


def on_cpu() -> bool:
    """Returns whether JAX computes on the processor here."""
    return jax.default_backend() == "cpu"
