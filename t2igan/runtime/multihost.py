"""Several processes as one run: initialization, agreement, stopping at one step."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from input_pipeline.errors import UserError

_FAILED = -(2**31)


def initialize(
    coordinator_address: str | None, num_processes: int | None, process_id: int | None
) -> None:
    """Joins the other processes; does nothing where this one is alone. Before any use of devices.

    Without arguments the environment says it: SLURM's (a step of several tasks), a TPU VM's, or
    JAX's own `JAX_COORDINATOR_ADDRESS`.

    Args:
      coordinator_address: "host:port" of process 0.
      num_processes: of the whole run, >= 1.
      process_id: of this one, 0 to num_processes - 1.

    Raises:
      UserError: only some of the three are given, or they make no sense.
    """
    given = (coordinator_address, num_processes, process_id)
    if all(value is None for value in given):
        if environment_has_processes(os.environ):
            jax.distributed.initialize()
        elif _on_tpu_vm():
            _initialize_tpu()
        return
    _check(*given)
    jax.distributed.initialize(coordinator_address, num_processes, process_id)


def environment_has_processes(environment: Mapping[str, str]) -> bool:
    """Returns whether a launcher has started several processes and says so in the environment."""
    if environment.get("JAX_COORDINATOR_ADDRESS"):
        return True
    if "," in environment.get("TPU_WORKER_HOSTNAMES", ""):
        return True
    # SLURM_NTASKS is there in an allocation's shell too; SLURM_STEP_NUM_TASKS only under srun.
    tasks = environment.get("SLURM_STEP_NUM_TASKS", "1")
    return "SLURM_PROCID" in environment and tasks.isdigit() and int(tasks) > 1


def _check(address: str | None, count: int | None, index: int | None) -> None:
    if address is None or count is None or index is None:
        raise UserError(
            "--coordinator_address, --num_processes and --process_id go together: give all three, "
            "or none where SLURM or a TPU VM tells them"
        )
    if not re.fullmatch(r"\S+:\d{1,5}", address):
        raise UserError(f"--coordinator_address={address}: give host:port, the same everywhere")
    if count < 1 or not 0 <= index < count:
        raise UserError(
            f"--process_id={index} --num_processes={count}: ids go from 0 to num_processes - 1"
        )


def _on_tpu_vm() -> bool:
    has_device = any(Path(path).exists() for path in ("/dev/accel0", "/dev/vfio/0"))
    return has_device and importlib.util.find_spec("libtpu") is not None


def _initialize_tpu() -> None:
    try:
        jax.distributed.initialize()
    except (RuntimeError, ValueError) as error:  # a TPU VM that is no part of a cluster
        print(f"one process: the TPU VM names no others ({error})", file=sys.stderr)


def is_first_process() -> bool:
    """Returns whether this process writes what only one must write."""
    return jax.process_index() == 0


def from_first_process(decide: Callable[[], int]) -> int:
    """Returns what `decide` returns on process 0, on every process.

    Args:
      decide: called on process 0 only; 32-bit integers.

    Raises:
      UserError: on all processes, where `decide` raises one.
    """
    if jax.process_count() == 1:
        return decide()
    from jax.experimental import multihost_utils

    value, mistake = _FAILED, UserError("process 0 met a mistake: its output names it")
    if is_first_process():
        try:
            value = decide()
        except UserError as error:
            mistake = error
    value = int(multihost_utils.broadcast_one_to_all(value))
    if value == _FAILED:
        raise mistake
    return value


def same_everywhere(values: Mapping[str, float]) -> dict[str, float]:
    """Returns the first process's numbers, to float32, on every process.

    Args:
      values: the same names in the same order on every process.
    """
    if jax.process_count() == 1:
        return dict(values)
    from jax.experimental import multihost_utils

    row = np.array(list(values.values()), np.float32)
    row = np.asarray(multihost_utils.broadcast_one_to_all(row))
    return dict(zip(values, map(float, row), strict=True))


def on_one_device(tree: Any) -> Any:
    """Returns this process's copy, on its first device, of arrays that all devices hold whole."""
    device = jax.local_devices()[0]
    return jax.tree.map(lambda x: jax.device_put(x.addressable_data(0), device), tree)
