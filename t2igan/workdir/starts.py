"""RUN/starts.jsonl: when, how and where a run was started and resumed."""

from __future__ import annotations

import json
import platform
import shlex
import socket
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax

NAME = "starts.jsonl"
_PACKAGES = ("t2igan", "jax", "jaxlib", "flax", "optax", "numpy")


def note_start(workdir: Path, step: int) -> None:
    """Appends a line about this process.

    Args:
      workdir: folder of the run.
      step: steps done before.
    """
    devices = jax.devices()
    entry: dict[str, Any] = {
        "step": step,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": shlex.join(["t2igan", *sys.argv[1:]]),
        "host": socket.gethostname(),
        "devices": f"{len(devices)} x {devices[0].device_kind}",
        "processes": jax.process_count(),
        "versions": {"python": platform.python_version(), **_versions()},
    }
    with (Path(workdir) / NAME).open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry, ensure_ascii=False) + "\n")


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # run from a checkout that is not installed
            continue
    return found
