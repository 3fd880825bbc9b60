"""Devices of trials that run side by side: GPUs of its own for each."""

from __future__ import annotations

import glob
import os
import re

from input_pipeline.errors import UserError

_TPU_CHIPS = ("/dev/accel*", "/dev/vfio/[0-9]*")
_GPUS = "/dev/nvidia[0-9]*"


def check_devices(parallel: int) -> None:
    """Refuses trials side by side where they could not share the devices.

    Args:
      parallel: trials at a time.

    Raises:
      UserError: on a TPU host, whose chips belong to one process; or there are fewer GPUs.
    """
    if parallel == 1:
        return
    if any(glob.glob(pattern) for pattern in _TPU_CHIPS):
        raise UserError(
            f"--parallel={parallel}: the chips of a TPU host belong to one process; run one trial "
            "at a time, which uses them all"
        )
    devices = _gpus()
    if devices and len(devices) < parallel:
        raise UserError(
            f"--parallel={parallel}: there are {len(devices)} GPUs here, and a trial has one of "
            "its own at least"
        )


def own_device(slot: int, parallel: int) -> dict[str, str]:
    """Returns what a trial's environment says of its GPUs; nothing where there are too few.

    Args:
      slot: from 0, of those trained at a time.
      parallel: how many there are.
    """
    devices = _gpus()
    if parallel == 1 or len(devices) < parallel:
        return {}
    share = len(devices) // parallel
    return {"CUDA_VISIBLE_DEVICES": ",".join(devices[slot * share : (slot + 1) * share])}


def _gpus() -> list[str]:
    """What `CUDA_VISIBLE_DEVICES` lists, else the numbers of the GPUs of this machine."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        return [name for name in listed.split(",") if name]
    found = (re.fullmatch(r"/dev/nvidia(\d+)", path) for path in glob.glob(_GPUS))
    return sorted((match[1] for match in found if match), key=int)
