"""Memory of a command while it works, minute by minute.

    python scripts/benchmarks/memory_over_time.py --minutes=10 -- \
        t2igan train --config=configs/quickstart.py --config.data.dir=data/shapes \
        --config.train.steps=1000000 --workdir=runs/long

Counted is what its processes hold themselves (RssAnon of /proc, Linux): not the files that they
map, which the system takes back. After so many minutes the command is stopped by SIGTERM. The slope
is of the second half, by least squares.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

_EVERY_SECONDS = 2.0


def main() -> int:
    """Prints a table and one line of JSON; exit status 1 where the command failed by itself."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("command", nargs="+", help="after --")
    flags = parser.parse_args()
    child = subprocess.Popen(flags.command)
    try:
        seconds, megabytes = _watch(child, flags.minutes * 60)
    finally:
        was_running = child.poll() is None
        child.send_signal(signal.SIGTERM)
        child.wait()
    for minute in range(int(seconds[-1] // 60) + 1):
        inside = (seconds >= 60 * minute) & (seconds < 60 * (minute + 1))
        if inside.any():
            print(f"minute {minute + 1:3d}: {megabytes[inside].max():8,.0f} MiB at most")
    late = seconds >= seconds[-1] / 2
    slope = np.polyfit(seconds[late] / 60, megabytes[late], 1)[0]
    row = {
        "command": flags.command,
        "minutes": round(seconds[-1] / 60, 2),
        "peak_mib": round(float(megabytes.max())),
        "mib_a_minute_in_second_half": round(float(slope), 2),
    }
    print(json.dumps(row))
    return 0 if was_running or child.returncode == 0 else 1


def _watch(child: subprocess.Popen[bytes], limit: float) -> tuple[np.ndarray, np.ndarray]:
    start = time.monotonic()
    seconds, megabytes = [], []
    while child.poll() is None and time.monotonic() - start < limit:
        time.sleep(_EVERY_SECONDS)
        seconds.append(time.monotonic() - start)
        megabytes.append(sum(map(_own_mebibytes, _family(child.pid))))
    if not seconds:
        sys.exit("the command ended at once")
    return np.array(seconds), np.array(megabytes)


def _family(pid: int) -> list[int]:
    """A process and all that it has started."""
    family = [pid]
    for parent in family:
        for path in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                family += map(int, path.read_text().split())
            except OSError:
                continue
    return family


def _own_mebibytes(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    lines = [line for line in status.splitlines() if line.startswith("RssAnon:")]
    return int(lines[0].split()[1]) / 1024 if lines else 0.0


if __name__ == "__main__":
    sys.exit(main())
