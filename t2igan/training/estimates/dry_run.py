"""An estimate of a run: parameters, memory, speed and time, from a few steps."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import jax

from t2igan.config.unused import in_one_line
from t2igan.evaluation.best import best_by
from t2igan.runtime.device import prefetch
from t2igan.runtime.trees import shapes_by_name
from t2igan.training.experiment import Experiment, open_experiment
from t2igan.training.hooks import metrics

if TYPE_CHECKING:
    from ml_collections import ConfigDict

_STEPS = 5  # timed, or fewer where these seconds are over
_SECONDS = 20.0


def dry_run(config: ConfigDict, num_devices: int = 0) -> str:
    """Returns a page about the run that the config describes; nothing is written.

    Args:
      config: see configs/common.py.
      num_devices: of this process to use; 0 for all.

    Raises:
      UserError: a mistake in the config, or data that cannot be read.
    """
    best_by(config)  # a metric that is none is found before the first step
    metrics.check(config)
    experiment = open_experiment(config, num_devices)
    state = experiment.state_shapes()
    generator = {"params": state.g_params, "batch_stats": state.g_stats}
    discriminator = {"params": state.d_params, "batch_stats": state.d_stats}
    return "\n".join(
        [
            *parameter_table("generator", generator),
            "",
            *parameter_table("discriminator", discriminator),
            "",
            *_memory(state),
            *_unused(experiment),
            *_timed(experiment),
        ]
    )


def parameter_table(title: str, variables: dict[str, Any]) -> list[str]:
    """Lines: name, shape and number of each array of a network, and their sums.

    Args:
      title: of the network.
      variables: {"params", "batch_stats"}; running statistics count, but are not trained.
    """
    rows = [
        (name, " x ".join(map(str, shape)) or "1", math.prod(shape))
        for collection in variables.values()
        for name, shape in shapes_by_name(collection).items()
    ]
    trained = sum(math.prod(shape) for shape in shapes_by_name(variables["params"]).values())
    total = sum(count for _, _, count in rows)
    width = max(len(name) for name, _, _ in rows)
    return [
        f"{title}: {total:,} parameters, {trained:,} of them trained",
        *(f"  {name:<{width}}  {shape:>20}  {count:>12,}" for name, shape, count in rows),
    ]


def _memory(state: Any) -> Iterator[str]:
    leaves = jax.tree.leaves(state)
    yield f"state on each device: {_megabytes(sum(x.size * x.dtype.itemsize for x in leaves))}"


def _unused(experiment: Experiment) -> Iterator[str]:
    if unused := experiment.unused():
        yield f"set, but without effect: {in_one_line(unused)}"


def _timed(experiment: Experiment) -> Iterator[str]:
    step, state = experiment.train_step(), experiment.initial_state()
    with experiment.stream() as stream, prefetch(stream, experiment.mesh) as batches:
        start, batch = time.perf_counter(), next(batches)
        if hasattr(step, "lower"):  # one jit; the other mapper compiles when it is called
            step = step.lower(state, batch).compile()
            yield _peak(step.memory_analysis())
        state, metrics = step(state, batch)
        jax.block_until_ready(metrics)
        yield f"compiling and the first step: {time.perf_counter() - start:.1f} s"
        start, done = time.perf_counter(), 0
        while done < _STEPS and time.perf_counter() - start < _SECONDS:
            state, metrics = step(state, next(batches))
            jax.block_until_ready(metrics)
            done += 1
        seconds = (time.perf_counter() - start) / done
    size, steps = experiment.config.train.batch_size, experiment.num_steps
    devices = f"{experiment.mesh.size} x {jax.devices()[0].device_kind}"
    yield f"{size / seconds:,.1f} images/s, {seconds:.3f} s a step of {size} on {devices}"
    yield (
        f"{steps:,} steps: about {_duration(seconds * steps)}, checkpoints, images and "
        "validation not counted"
    )


def _peak(analysis: Any) -> str:
    if analysis is None:
        return "a step's memory: this backend does not tell"
    used = (
        analysis.argument_size_in_bytes
        + analysis.output_size_in_bytes
        - analysis.alias_size_in_bytes
        + analysis.temp_size_in_bytes
    )
    return f"a step's memory on each device, state included: {_megabytes(used)}"


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"


def _duration(seconds: float) -> str:
    minutes, hours = seconds / 60, seconds / 3600
    if hours >= 48:
        return f"{hours / 24:.1f} days"
    if hours >= 1:
        return f"{hours:.1f} hours"
    return f"{minutes:.0f} minutes" if minutes >= 2 else f"{seconds:.0f} s"
