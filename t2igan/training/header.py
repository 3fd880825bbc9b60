"""What a run says before its first step: devices, data, networks, length."""

from __future__ import annotations

import math

import jax

from t2igan.config.unused import in_one_line
from t2igan.runtime.device import memory
from t2igan.runtime.trees import shapes_by_name
from t2igan.training.experiment import Experiment
from t2igan.training.state import TrainState


def header(experiment: Experiment, state: TrainState, first: int) -> str:
    """Returns some lines about a run that is about to go on.

    Args:
      experiment: opened.
      state: after `first` steps.
      first: steps done.
    """
    config, devices = experiment.config, list(experiment.mesh.devices.flat)
    limit = memory(devices[0]).get("bytes_limit", 0)
    room = f", {limit / 2**30:.0f} GiB each" if limit else ""
    processes = jax.process_count()
    hosts = f" of {processes} processes" if processes > 1 else ""
    images = len(experiment.dataset.source(config.data.train_split))
    batch, steps = config.train.batch_size, experiment.num_steps
    parts = config.train.accumulate_steps
    in_parts = f" in {parts} parts" if parts > 1 else ""
    rows = {
        "devices": f"{len(devices)} x {devices[0].device_kind}{hosts}{room}",
        "data": f"{images:,} images of {experiment.dataset.image_size} pixels "
        f"({experiment.dataset.path})",
        "networks": f"{config.recipe}: generator {_count(state.g_params):,} parameters, "
        f"discriminator {_count(state.d_params):,}; {config.train.compute_dtype}",
        "run": f"{steps:,} steps of {batch} images{in_parts} ({steps * batch:,} images, "
        f"{steps * batch / images:.1f} epochs)"
        + (f"; goes on after step {first:,}" if first else ""),
    }
    if unused := experiment.unused():
        rows["unused"] = in_one_line(unused)
    rows["now"] = "compiling the step"
    width = max(map(len, rows))
    return "\n".join(f"{name:<{width}}  {text}" for name, text in rows.items())


def _count(params: object) -> int:
    return sum(math.prod(shape) for shape in shapes_by_name(params).values())
