"""Devices to compile for that this machine does not have: TPU slices and GPUs by name."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import os
import re
from collections.abc import Iterator

import jax

from input_pipeline.errors import UserError, did_you_mean
from t2igan.runtime.device import data_mesh

_MOST_DEVICES = 4096


@dataclasses.dataclass(frozen=True)
class Chip:
    """One kind of accelerator; its figures are the vendor's, for dense arithmetic.

    Attributes:
      name: as in a topology's name.
      platform: "tpu" or "cuda".
      memory: bytes of device memory that a chip has.
      flops: a second, in the arithmetic that a float32 matrix product is computed in by default:
        bfloat16 passes on a TPU, TF32 on a GPU.
      bfloat16_flops: a second, of bfloat16 inputs.
      bandwidth: of device memory, bytes a second.
      clock: of a TPU's cycles, Hz; 0 where the compiler estimates no cycles.
      host: shape of the chips of the smallest slice that can be compiled for.
    """

    name: str
    platform: str
    memory: float
    flops: float
    bfloat16_flops: float
    bandwidth: float
    clock: float = 0.0
    host: tuple[int, ...] = ()


# TPUs: cloud.google.com/tpu/docs. The clocks are derived: peak arithmetic over the multiply-adds a
# cycle of the chip's matrix units (65,536 in v5e, 131,072 in v4 and v5p, 262,144 in v6e). At them
# the compiler's cycles for a bfloat16 product of 8192x8192 matrices are 93 (v4), 88 (v5e), 90 (v5p)
# and 70 % (v6e) of peak.
# H100: the SXM data sheet.
CHIPS = {
    chip.name: chip
    for chip in (
        Chip("v4", "tpu", 32e9, 275e12, 275e12, 1228e9, 1.05e9, (2, 2, 1)),
        Chip("v5e", "tpu", 16e9, 197e12, 197e12, 819e9, 1.5e9, (2, 2)),
        Chip("v5p", "tpu", 95e9, 459e12, 459e12, 2765e9, 1.75e9, (2, 2, 1)),
        Chip("v6e", "tpu", 32e9, 918e12, 918e12, 1640e9, 1.75e9, (2, 2)),
        Chip("h100", "cuda", 80e9, 495e12, 989e12, 3350e9),
    )
}

# What XLA's autotuner and cost model read of the card (GpuTargetConfigProto); the limits are
# compute capability 9.0's in NVIDIA's programming guide.
_H100 = """
gpu_device_info {
  cuda_compute_capability { major: 9 minor: 0 }
  threads_per_block_limit: 1024 threads_per_warp: 32
  shared_memory_per_block: 49152 shared_memory_per_core: 233472
  shared_memory_per_block_optin: 232448
  threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000 l2_cache_size: 52428800 clock_rate_ghz: 1.98
  device_memory_size: 84929347584 registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 8 }
runtime_version { major: 12 minor: 8 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""


@dataclasses.dataclass(frozen=True)
class Topology:
    """Chips of one kind and how they are joined.

    Attributes:
      chip: the kind.
      shape: chips along each axis of a slice; of GPUs, their number alone.
    """

    chip: Chip
    shape: tuple[int, ...]

    @property
    def num_chips(self) -> int:
        """Returns the number of chips."""
        return math.prod(self.shape)

    def __str__(self) -> str:
        return f"{self.chip.name}:{'x'.join(map(str, self.shape))}"


def parse(name: str) -> Topology:
    """Returns the topology that a name such as v5e:4x4, v5p:2x2x2 or h100:8 stands for.

    Raises:
      UserError: there is no such chip, or it is not joined in such a shape.
    """
    kind, _, shape = name.lower().partition(":")
    if kind not in CHIPS:
        raise UserError(
            f"--topology={name}: no chip is named {kind!r}; there are {', '.join(CHIPS)}"
            f"{did_you_mean(kind, CHIPS)}"
        )
    chip = CHIPS[kind]
    axes = len(chip.host) or 1
    if not re.fullmatch(r"[1-9]\d{0,3}(x[1-9]\d{0,3})*", shape) or shape.count("x") != axes - 1:
        example = "x".join(["4"] * axes) if chip.host else "8"
        raise UserError(f"--topology={name}: {kind} takes a shape such as {kind}:{example}")
    topology = Topology(chip, tuple(map(int, shape.split("x"))))
    if any(size % least for size, least in zip(topology.shape, chip.host, strict=False)):
        least = "x".join(map(str, chip.host))
        raise UserError(f"--topology={name}: each side must be a multiple of {kind}:{least}'s")
    if topology.num_chips > _MOST_DEVICES:
        raise UserError(f"--topology={name}: at most {_MOST_DEVICES} chips can be compiled for")
    return topology


@functools.cache
def target_mesh(topology: Topology) -> jax.sharding.Mesh:
    """Returns a mesh with the axis `data` over devices that programs can be compiled for only.

    Raises:
      UserError: the compiler of that platform is not installed.
    """
    from jax.experimental import topologies

    chip = topology.chip
    try:
        if chip.platform == "tpu":
            # Nothing is asked of a TPU VM's metadata server, and compiling needs no lock on a TPU.
            os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
            os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
            description = topologies.get_topology_desc(
                platform="tpu",
                topology_name=str(topology),
                **({"chip_config_name": "megacore"} if chip.name == "v4" else {}),
            )
        else:
            description = topologies.get_topology_desc(
                platform="cuda",
                topology_name=chip.name,
                topology=f"1x1x{topology.num_chips}",
                target_config=_H100,
            )
    except Exception as error:  # of many kinds: a missing plugin, an unknown slice
        extra = "tpu" if chip.platform == "tpu" else "cuda12"
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"--topology={topology} cannot be compiled for: {reason}; "
            f"is the extra installed? pip install t2igan[{extra}]"
        ) from error
    return data_mesh(description.devices)


_platform: str | None = None


@contextlib.contextmanager
def compiling_for(platform: str) -> Iterator[None]:
    """Makes what is traced meanwhile choose implementations for a platform that is absent.

    XLA's flags for CPUs are hidden meanwhile: libtpu reads XLA_FLAGS at its first compile, and ends
    the process at one that it does not know.
    """
    global _platform
    before, _platform = _platform, platform
    flags = os.environ.get("XLA_FLAGS")
    if flags:
        kept = [flag for flag in flags.split() if not flag.startswith("--xla_cpu_")]
        os.environ["XLA_FLAGS"] = " ".join(kept)
    try:
        yield
    finally:
        _platform = before
        if flags:
            os.environ["XLA_FLAGS"] = flags


def target_platform() -> str:
    """Returns "cpu", "gpu" or "tpu": of what is traced now."""
    platform = _platform or jax.default_backend()
    return "gpu" if platform in ("cuda", "rocm") else platform
