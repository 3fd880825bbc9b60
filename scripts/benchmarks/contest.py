"""Baselines timed in turns, A B C A B C, and held to the same numbers."""

from __future__ import annotations

import contextlib
import math
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.competitors import OURS, Competitor, Process
from benchmarks.disturbance import QUIET, Others

from input_pipeline.errors import UserError

# How far a float32 competitor may be from this project: of the largest value of each array.
# Both round the same sums in other orders, through ten layers and back.
TOLERANCES = {"grad_norm/d": 2e-3, "grad_norm/g": 2e-3}
TOLERANCE = 5e-4


def compete(
    competitors: Sequence[Competitor],
    pythons: Mapping[str, str],
    problem: Callable[[Competitor], Path],
    what: str,
    folder: Path,
    *,
    rounds: int,
    turn_seconds: float,
    check: bool = True,
) -> dict[str, dict[str, Any]]:
    """Returns name -> seconds a call in each round, first call, memory, difference, versions.

    All start; then, in each round, each has its turn. The turn before the first round is dropped:
    it warms up and tells how many calls fill a turn. A round beside which other processes worked
    is taken again, as many times in all as there are rounds; the quietest ones count.

    Args:
      competitors: at least one.
      pythons: package -> the Python that has it.
      problem: the npz file a competitor gets.
      what: "train" or "sample".
      folder: for settings, logs and what is compared.
      rounds: turns of each.
      turn_seconds: a turn has as many calls as fit, one at least.
      check: hold their numbers to those of the first.

    Raises:
      UserError: a competitor failed, or computes something else.
    """
    with contextlib.ExitStack() as stack:
        processes, found = {}, {}
        for one in competitors:
            process = Process(one, pythons[one.needs], problem(one), what, folder)
            stack.callback(process.close)
            processes[one.name] = process
            started = process.ask("start")
            warm = process.ask("time", calls=1)["seconds"]
            _say(f"{what}: {one.name} started in {started['seconds']:.1f} s, a call {warm:.4f} s")
            found[one.name] = {
                "exact": one.exact,
                "first_call_seconds": started["seconds"],
                "versions": started["versions"],
                "calls": max(1, math.floor(turn_seconds / warm)),
            }
        quietest = _rounds(processes, found, rounds)
        for name, process in processes.items():
            found[name]["seconds"] = [turns[name]["seconds"] for turns in quietest]
            found[name]["others_cores"] = [turns[name]["others"] for turns in quietest]
            found[name]["memory_bytes"] = process.ask("memory")["bytes"]
        if check:
            _check(processes, found, what, folder)
    return found


def _rounds(
    processes: Mapping[str, Process], found: Mapping[str, Any], rounds: int
) -> list[dict[str, dict[str, Any]]]:
    """The `rounds` quietest of up to twice as many, in the order they were taken."""
    taken: list[tuple[float, dict[str, dict[str, Any]]]] = []
    while sum(others <= QUIET for others, _ in taken) < rounds and len(taken) < 2 * rounds:
        turns = {name: _turn(one, found[name]["calls"]) for name, one in processes.items()}
        others = max(turn["others"] or 0.0 for turn in turns.values())
        taken.append((others, turns))
        _say(f"round {len(taken)} done, other work {others:.2f} cores")
    least = sorted(range(len(taken)), key=lambda index: taken[index][0])[:rounds]
    return [taken[index][1] for index in sorted(least)]


def _turn(process: Process, calls: int) -> dict[str, Any]:
    others = Others()
    turn = process.ask("time", calls=calls)
    return turn | {"others": others.cores(turn["cpu_seconds"] * calls)}


def _check(
    processes: Mapping[str, Process], found: dict[str, dict[str, Any]], what: str, folder: Path
) -> None:
    """Adds to each competitor how far its numbers are from the first one's."""
    want = None
    for name, process in processes.items():
        file = folder / f"{name.replace(' ', '_')}_{what}.npz"
        process.ask("check", file=str(file))
        with np.load(file) as arrays:
            got = dict(arrays)
        want = got if want is None else want
        found[name]["differences"] = differences(got, want)
        _say(f"{what}: {name} differs by {max(found[name]['differences'].values()):.1e}")
        if found[name]["exact"]:
            hold(name, found[name]["differences"])


def differences(got: Mapping[str, np.ndarray], want: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Returns name -> largest difference, in parts of the largest value wanted."""
    if got.keys() != want.keys():
        raise UserError(f"compared are {sorted(got)} and {sorted(want)}: not the same names")
    return {
        name: float(np.abs(got[name] - want[name]).max() / np.abs(want[name]).max())
        for name in want
    }


def hold(name: str, found: Mapping[str, float]) -> None:
    """Raises where a difference is larger than rounding.

    Raises:
      UserError: names the competitor and the number.
    """
    for what, difference in found.items():
        allowed = TOLERANCES.get(what, TOLERANCE)
        if not difference <= allowed:
            raise UserError(
                f"{name} computes another function: {what} differs by {difference:.2e} of its "
                f"largest value, allowed is {allowed:.0e}; its times mean nothing"
            )


def summary(found: Mapping[str, Mapping[str, Any]], batch_size: int) -> dict[str, Any]:
    """Returns the result with medians, spread, images/s, and ratios to the first competitor.

    A ratio is taken within each round, neighbors in time, and is "times as long as the first".
    """
    first = next(iter(found.values()))["seconds"]
    out = {}
    for name, one in found.items():
        seconds = one["seconds"]
        ratios = [theirs / ours for theirs, ours in zip(seconds, first, strict=True)]
        out[name] = {
            **one,
            "median_seconds": statistics.median(seconds),
            "images_per_sec": batch_size / statistics.median(seconds),
            "ratio": statistics.median(ratios),
            "ratio_least": min(ratios),
            "ratio_most": max(ratios),
        }
    return out


def rivals(result: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[str, float]]:
    """Returns framework -> (its fastest exact competitor, times as long as this project)."""
    best: dict[str, tuple[str, float]] = {}
    for name, one in result.items():
        framework = name.split()[0]
        if one["exact"] and framework != OURS:
            best[framework] = min(
                best.get(framework, ("", math.inf)), (name, one["ratio"]), key=lambda pair: pair[1]
            )
    return best


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
