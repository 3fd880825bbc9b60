"""Keeps JAX from looking for a TPU where libtpu is installed and no chip is there.

libtpu compiles for absent chips (see `topologies`), so machines without one have it. JAX would
start it at its first use of a device, which takes seconds and prints lines about a missing TPU.
"""

from __future__ import annotations

import glob
import importlib.util
import os

_DEVICES = ("/dev/accel*", "/dev/vfio/*", "/dev/nvidia*", "/dev/kfd")


def use_the_processor_where_no_device_is() -> None:
    """Sets `JAX_PLATFORMS=cpu` where only libtpu could be there for nothing; before JAX starts."""
    if "JAX_PLATFORMS" in os.environ or importlib.util.find_spec("libtpu") is None:
        return
    if not any(glob.glob(pattern) for pattern in _DEVICES):
        os.environ["JAX_PLATFORMS"] = "cpu"
