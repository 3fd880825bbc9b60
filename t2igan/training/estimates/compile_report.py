"""Estimates of a run on devices that are absent, from its step compiled for them."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import jax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from input_pipeline.errors import UserError
from t2igan.runtime import topologies
from t2igan.runtime.device import AXIS
from t2igan.runtime.topologies import Topology
from t2igan.training.estimates import hlo
from t2igan.training.estimates.arithmetic import count_flops
from t2igan.training.experiment import Experiment, open_experiment

if TYPE_CHECKING:
    from ml_collections import ConfigDict

_LARGEST = 4  # values of the program to show
_USABLE = 0.95  # of a GPU's memory: its driver and libraries hold some; a TPU's compiler counts


# Triton's tiles for small products are chosen by trying them on the card; without one the compiler
# finds none for some. With the card such products go to cuBLAS too.
_OPTIONS = {"cuda": {"xla_gpu_enable_triton_gemm": False}}


@dataclasses.dataclass(frozen=True)
class CompiledStep:
    """What the compiler says of a train step on one chip.

    Attributes:
      topology: that it was compiled for.
      batch_size: images a step over all chips.
      image_size: S, pixels.
      memory: bytes by part: of the state, "batch" and "temporaries".
      peak: bytes in all.
      largest: (bytes, operation) of the largest values computed, largest first.
      flops: of matrix products and convolutions.
      bytes_moved: to and from device memory.
      cycles: by the compiler's cost model, every branch of a condition included; 0 if it has none.
      collectives: number of transfers between chips by kind.
      bfloat16: whether the networks compute in bfloat16.
    """

    topology: Topology
    batch_size: int
    image_size: int
    memory: dict[str, int]
    peak: int
    largest: list[tuple[int, str]]
    flops: float
    bytes_moved: float
    cycles: int
    collectives: dict[str, int]
    bfloat16: bool

    @property
    def arithmetic_seconds(self) -> float:
        """Returns the time of the arithmetic alone at the chip's peak."""
        chip = self.topology.chip
        return self.flops / (chip.bfloat16_flops if self.bfloat16 else chip.flops)

    @property
    def memory_seconds(self) -> float:
        """Returns the time of moving the bytes alone at the chip's bandwidth."""
        return self.bytes_moved / self.topology.chip.bandwidth

    @property
    def roofline_seconds(self) -> float:
        """Returns the longer of the two, as if each hid the other.

        No strict bound: values that stay in the chip's own memory or cache are counted as moved.
        """
        return max(self.arithmetic_seconds, self.memory_seconds)

    @property
    def expected_seconds(self) -> float:
        """Returns the compiler's estimate, or arithmetic and memory one after the other.

        Never less than the arithmetic at peak. Transfers between chips are not in it.
        """
        clock = self.topology.chip.clock
        if self.cycles and clock:
            return max(self.cycles / clock, self.arithmetic_seconds)
        return self.arithmetic_seconds + self.memory_seconds

    @property
    def fits(self) -> bool:
        """Returns whether a chip's memory holds the step."""
        return self.peak <= _USABLE * self.topology.chip.memory


def compile_report(config: ConfigDict, topology_name: str) -> str:
    """Returns a page of estimates of the config's run on a topology; nothing is run or written.

    Args:
      config: see configs/common.py.
      topology_name: such as v5e:4x4 or h100:8.

    Raises:
      UserError: a mistake in the config or the name, data that cannot be read, or no compiler.
    """
    topology = topologies.parse(topology_name)
    step = compile_step(config, topology)
    if step is not None and step.fits:
        experiment = open_experiment(config, mesh=topologies.target_mesh(topology))
        return "\n".join(page(step, experiment.num_steps))
    used = "" if step is None else f" ({step.peak / 1e9:,.1f} GB)"
    head = f"config.train.batch_size={config.train.batch_size} does not fit {topology}{used}: a "
    head += f"chip has {topology.chip.memory / 1e9:.0f} GB"
    step = _largest_step(config, topology)
    if step is None:
        return f"{head}; one image a chip does not fit either"
    share = step.batch_size // topology.num_chips
    lines = [f"{head}; the largest batch that fits is {step.batch_size}, {share} a chip", ""]
    return "\n".join([*lines, *page(step, _num_steps(config, step))])


def compile_step(config: ConfigDict, topology: Topology) -> CompiledStep | None:
    """Returns what the compiler says of the config's step; None where it ran out of memory.

    Raises:
      UserError: see `compile_report`.
    """
    experiment = open_experiment(config, mesh=topologies.target_mesh(topology))
    if config.train.mapper != "shard_map":
        raise UserError(
            f"config.train.mapper={config.train.mapper!r} cannot be compiled for --topology: "
            "use shard_map"
        )
    state, batch = experiment.state_shapes(), batch_shapes(experiment)
    step = experiment.train_step()
    with topologies.compiling_for(topology.chip.platform):
        flops = count_flops(step, state, batch)
        try:
            compiled = step.lower(state, batch).compile(_OPTIONS.get(topology.chip.platform))
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" in str(error):
                return None
            raise
    return _analyzed(compiled, experiment, topology, flops)


def batch_shapes(experiment: Experiment) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns a training batch's arrays, laid out over the experiment's mesh."""
    config = copy.deepcopy(experiment.config)
    size, config.train.batch_size = config.train.batch_size, 1
    with dataclasses.replace(experiment, config=config).stream() as stream:
        row = next(stream)
    sharding = NamedSharding(experiment.mesh, P(AXIS))

    def shape(name: str, x: Any) -> jax.ShapeDtypeStruct:
        rows = len(x) if name.startswith("negative_") else size
        return jax.ShapeDtypeStruct((rows, *x.shape[1:]), x.dtype, sharding=sharding)

    return {name: shape(name, x) for name, x in row.items()}


def _analyzed(
    compiled: Any, experiment: Experiment, topology: Topology, flops: float
) -> CompiledStep:
    text, cost = compiled.as_text(), compiled.cost_analysis() or {}
    program, usage = hlo.entry(text), compiled.memory_analysis()
    held = usage.argument_size_in_bytes + usage.output_size_in_bytes - usage.alias_size_in_bytes
    return CompiledStep(
        topology=topology,
        batch_size=experiment.config.train.batch_size,
        image_size=experiment.recipe.image_size,
        memory=_state_parts(experiment, usage.argument_size_in_bytes)
        | {"temporaries": usage.temp_size_in_bytes},
        peak=held + usage.temp_size_in_bytes,
        largest=[(x.num_bytes, _source(x)) for x in hlo.largest_values(program, _LARGEST)],
        flops=flops,
        bytes_moved=cost.get("bytes accessed", 0.0) or hlo.bytes_moved(program),
        cycles=hlo.estimated_cycles(text),
        collectives=hlo.collectives(text),
        bfloat16=experiment.config.train.compute_dtype == "bfloat16",
    )


def _state_parts(experiment: Experiment, arguments: int) -> dict[str, int]:
    state = experiment.state_shapes()
    parts = {
        "generator": (state.g_params, state.g_stats),
        "discriminator": (state.d_params, state.d_stats),
        "optimizers": (state.g_opt, state.d_opt),
        "EMA generator": state.ema,
    }
    sizes = {
        name: sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(part))
        for name, part in parts.items()
    }
    return sizes | {"batch, frozen arrays, padding": max(arguments - sum(sizes.values()), 0)}


def _source(instruction: hlo.Instruction) -> str:
    """The layer that an instruction computes, or its name."""
    _, _, rest = instruction.text.partition('op_name="')
    name = rest.partition('"')[0].split("/")
    return "/".join(name[-3:]) if rest else instruction.name


def _largest_step(config: ConfigDict, topology: Topology) -> CompiledStep | None:
    """The step with the most images a chip that fits, to an eighth."""
    group = max(config.model.mbstd_group_size, 1)
    steps: dict[int, CompiledStep | None] = {}

    def fits(groups: int) -> bool:
        own = copy.deepcopy(config)
        own.train.batch_size = groups * group * topology.num_chips
        step = steps[groups] = compile_step(own, topology)
        return step is not None and step.fits

    largest = largest_fitting(fits, config.train.batch_size // topology.num_chips // group)
    return steps[largest] if largest else None


def largest_fitting(fits: Callable[[int], bool], failing: int) -> int:
    """Returns a number below `failing` that fits where an eighth more does not; 0 if 1 does not.

    Args:
      fits: whether a number does; if it does, so does every smaller one.
      failing: a number that does not fit, >= 1.
    """
    low, high = 0, failing
    while high - low > max(low // 8, 1):
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _num_steps(config: ConfigDict, step: CompiledStep) -> int:
    own = copy.deepcopy(config)
    own.train.batch_size = step.batch_size
    return open_experiment(own, mesh=topologies.target_mesh(step.topology)).num_steps


def page(step: CompiledStep, num_steps: int) -> Iterator[str]:
    """Yields the lines of a report: memory, arithmetic, transfers, and estimates of the run."""
    chips, chip = step.topology.num_chips, step.topology.chip
    yield f"{step.topology}: {step.batch_size} images a step on {chips} chips, compiled, not run"
    yield f"memory a chip: {step.peak / 1e6:,.1f} MB of {chip.memory / 1e9:.0f} GB"
    for name, size in sorted(step.memory.items(), key=lambda item: -item[1]):
        yield f"  {size / 1e6:>10,.1f} MB  {name}"
    yield "  largest values computed:"
    for size, name in step.largest:
        yield f"  {size / 1e6:>10,.1f} MB  {name}"
    transfers = ", ".join(f"{n} {kind}" for kind, n in step.collectives.items())
    yield f"transfers between chips a step: {transfers or 'none'}"
    yield (
        f"arithmetic a chip: {step.flops / 1e9:,.1f} GFLOP a step, at peak "
        f"{1e3 * step.arithmetic_seconds:.2f} ms; memory traffic {step.bytes_moved / 1e9:,.1f} GB, "
        f"{1e3 * step.memory_seconds:.2f} ms"
    )
    if step.cycles:
        yield f"compiler's estimate: {step.cycles / 1e6:,.2f} M cycles at {chip.clock / 1e9} GHz"
    yield from _estimates(step, num_steps)


def _estimates(step: CompiledStep, num_steps: int) -> Iterator[str]:
    slow = max(step.expected_seconds, step.roofline_seconds)
    fast = min(step.expected_seconds, step.roofline_seconds)
    chips, size = step.topology.num_chips, step.batch_size
    yield (
        f"estimate: {size / slow:,.0f} to {size / fast:,.0f} images/s; waiting for input and for "
        "transfers between chips not counted"
    )
    hours = [num_steps * seconds / 3600 for seconds in (fast, slow)]
    yield (
        f"estimate of the whole run, {num_steps:,} steps: {hours[0]:,.2f} to {hours[1]:,.2f} "
        f"hours, {chips * hours[0]:,.2f} to {chips * hours[1]:,.2f} chip-hours; checkpoints and "
        "validation not counted"
    )
