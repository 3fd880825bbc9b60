"""The background load while something is measured."""

from __future__ import annotations

import os
import time
from pathlib import Path

# Cores' worth of other work that a turn may have beside it.
QUIET = 0.1


class Others:
    """Cores that other processes took since this was made; where the system tells it."""

    def __init__(self) -> None:
        self._start, self._busy = time.perf_counter(), busy_seconds()

    def cores(self, own_cpu_seconds: float) -> float | None:
        """Returns cores' worth of other work, the host's other guests with it; None if unknown.

        Args:
          own_cpu_seconds: processor time of what is measured, since then.
        """
        if self._busy is None:
            return None
        others = busy_seconds() - self._busy - own_cpu_seconds
        return max(0.0, others / (time.perf_counter() - self._start))


def busy_seconds() -> float | None:
    """Returns processor time of all processes since the machine's start; None where unknown."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    except OSError:
        return None
    user, nice, system, _, _, interrupts, soft_interrupts, stolen = map(int, fields)
    ticks = user + nice + system + interrupts + soft_interrupts + stolen
    return ticks / os.sysconf("SC_CLK_TCK")
