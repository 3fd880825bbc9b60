"""The provenance of a number: code, machine and versions."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import jax

ROOT = Path(__file__).resolve().parents[3]


@functools.cache
def code_version() -> str:
    """Returns the package's version, with the commit where it runs from a checkout:
    `0.1.0+c806ecc`.
    """
    from t2igan import __version__

    if not (ROOT / ".git").exists():
        return __version__
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return __version__
    return f"{__version__}+{told.stdout.strip()}"


@functools.cache
def machine() -> dict[str, Any]:
    """Returns the machine: this process's devices, the processor and its usable cores."""
    devices = jax.local_devices()
    return {
        "device": devices[0].device_kind,
        "devices": len(devices),
        "processor": _processor(),
        "cores": _cores(),
    }


def _processor() -> str:
    """The processor's name, as far as the system tells it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def computed_with() -> dict[str, Any]:
    """Returns the code and the machine: rounding differs between backends, nothing else should."""
    return {
        "code": code_version(),
        "jax": jax.__version__,
        "backend": jax.default_backend(),
        "machine": machine(),
    }
