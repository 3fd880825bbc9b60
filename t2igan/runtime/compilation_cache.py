"""Compiled steps kept on disk, so that the second start of the same networks is quick."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path

import jax


def use_compilation_cache() -> Path | None:
    """Returns the folder that compiled programs are now kept in; None where none can be written.

    `JAX_COMPILATION_CACHE_DIR` is taken as it is. Otherwise it lies in the user's cache folder,
    one for each processor model: code compiled for one may not run on another.
    """
    if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return Path(os.environ["JAX_COMPILATION_CACHE_DIR"])
    try:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = root / "t2igan" / f"jax-{jax.__version__}-{_processor()}"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # not writable, or no home
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # Many small programs cost as much at a start as one large one: keep them all.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return folder


def _processor() -> str:
    """Returns a name of the processor's instruction set, the same on machines that share it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        flags = next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        flags = platform.processor()
    digest = hashlib.sha256(flags.encode()).hexdigest()[:12]
    return f"{platform.machine()}-{digest}"
