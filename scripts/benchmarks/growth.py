"""The scaling of a step with batch, widths, image size and devices."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from benchmarks import problem as problems
from benchmarks.competitors import Competitor
from benchmarks.contest import compete, summary
from benchmarks.machine import step_flops

BATCH = 32


def series() -> dict[str, list[Any]]:
    """Returns what grows -> its values; the report's own is among them."""
    devices = [1, 2, 4] if jax.default_backend() == "cpu" else _doubled(jax.device_count())
    return {
        "batch": [8, 16, 32, 64, 128, 256, 512],
        "width": [16, 32, 64, 128, 256],
        "image_size": [16, 32, 64, 128],
        "devices": devices,
    }


def _doubled(most: int) -> list[int]:
    return [1 << k for k in range(most.bit_length())]


def settings(what: str, value: int) -> dict[str, Any]:
    """Returns the settings of a step of the report, one thing changed."""
    if what == "width":
        return {"config": {"model.gf_dim": value, "model.df_dim": value // 2}}
    return {} if what == "batch" else {what: value}


def measure(
    what: str, values: list[int], pythons: Mapping[str, str], folder: Path, **turns: Any
) -> list[dict[str, Any]]:
    """Returns a row a value: seconds a step, images/s, FLOP/s done, memory, first call.

    Args:
      what: a key of `series`.
      values: one after the other, so that only one is in memory.
      pythons: see `compete`.
      folder: for problems and logs.
      **turns: rounds and turn_seconds.
    """
    rows = []
    for value in values:
        one = Competitor(f"{what} {value}", "t2igan_peer", settings(what, value))
        batch = value if what == "batch" else BATCH
        size = value if what == "image_size" else problems.IMAGE_SIZE
        file = problems.write_batch(folder / f"{what}_{value}.npz", batch, size)
        found = compete([one], pythons, lambda _, f=file: f, "train", folder, check=False, **turns)
        (row,) = summary(found, batch).values()
        changed = settings(what, value)
        changed.pop("devices", None)
        flops = step_flops(batch, **changed)
        rows.append({what: value, "flops_per_sec": flops / row["median_seconds"], **row})
    return rows
