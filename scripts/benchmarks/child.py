"""One competitor in a process of its own, driven over pipes: so that competitors take turns.

    python child.py MODULE PROBLEM.npz SETTINGS.json

MODULE has `Competitor(problem, settings)` with `check_train()` and `check_sample()`, which return
{name: array}, with `step()`, `sample()` and `wait()`; and `VERSIONS`. Needs numpy and the
competitor's own framework, nothing else.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from typing import Any

import numpy as np


def serve(module: str, problem_file: str, settings: dict[str, Any]) -> None:
    """Answers one JSON line for each line asked until input ends: start, time, memory, check.

    Args:
      module: of the competitor, beside this file.
      problem_file: npz of weights and a batch, see problem.py.
      settings: "what" ("train" or "sample") and the competitor's own.
    """
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # frameworks that print must not answer
    with np.load(problem_file) as file:
        problem = dict(file)
    peer = importlib.import_module(module)
    competitor = peer.Competitor(problem, settings)
    work = getattr(competitor, {"train": "step", "sample": "sample"}[settings["what"]])
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "start":  # the first call compiles
            answer = _time(work, competitor.wait, 1) | {"versions": peer.VERSIONS}
        elif request["do"] == "time":
            answer = _time(work, competitor.wait, request["calls"])
        elif request["do"] == "memory":
            answer = {"bytes": _memory(competitor)}
        else:  # on weights that no step has changed, and after memory: for a moment there are two
            fresh = peer.Competitor(problem, settings)
            np.savez(request["file"], **getattr(fresh, f"check_{settings['what']}")())
            answer = {}
        print(json.dumps(answer), file=answers, flush=True)


def _time(work: Any, wait: Any, calls: int) -> dict[str, float]:
    """Seconds a call, by the clock and of processor time, of `calls` calls in a row."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(calls):
        work()
    wait()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"seconds": wall / calls, "cpu_seconds": cpu / calls}


def _memory(competitor: Any) -> int:
    """The device's peak where the framework tells it, else the process' peak."""
    peak = getattr(competitor, "device_memory", lambda: None)()
    return peak or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    with open(sys.argv[3]) as settings_file:
        serve(sys.argv[1], sys.argv[2], json.load(settings_file))
