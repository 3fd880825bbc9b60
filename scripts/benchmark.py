"""Training and sampling speed beside peers that do the same work, as ratios from one run.

    python scripts/benchmark.py --peers_python=peers/bin/python --json=benchmark.json
    python scripts/benchmark.py --what=forms
    python scripts/benchmark.py --what=growth
    python scripts/benchmark.py --quick

Peers live in an environment of their own: `python -m venv peers`, then
`peers/bin/pip install torch tensorflow keras numpy`. Those that are missing are named and left out.
Every competitor's numbers are held to this project's before a table is printed. `--quick` needs no
peers and less than a minute: it fails when a fast form of a convolution no longer equals the plain
one; times decide nothing there.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import competitors, forms, growth, machine, problem, quick, tables
from benchmarks.contest import compete, rivals, summary

from input_pipeline.errors import UserError

WHAT = ("train", "sample", "forms", "growth")


def main() -> int:
    """Exit status: 0, or 2 for a user's mistake or numbers that are not equal."""
    flags = _parse_flags()
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # the competitors need the GPU
    try:
        with tempfile.TemporaryDirectory() as folder:
            result = quick.measure() if flags.quick else _measure(flags, Path(folder))
    except UserError as error:
        print(f"benchmark: error: {error}", file=sys.stderr)
        return 2
    if flags.json:
        flags.json.write_text(json.dumps(result, indent=1) + "\n")
    return 0


def _parse_flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--what", default="train,sample", help=f"comma-separated: {', '.join(WHAT)}")
    add("--quick", action="store_true", help="only check that fast forms equal plain ones")
    add("--only", default="", metavar="NAMES", help="competitors, comma-separated; default: all")
    add("--batch_size", type=int, default=32, help="of train and forms")
    add("--sample_batch_sizes", type=int, nargs="*", default=[1, 32, 256])
    add("--series", nargs="*", default=list(growth.series()), help="of growth")
    add("--values", type=int, nargs="*", help="of one growth series; default: its own")
    add("--rounds", type=int, default=5, help="turns of each competitor that count")
    add("--turn_seconds", type=float, default=2.0, help="a turn has as many calls as fit")
    add("--peers_python", default=sys.executable, help="Python that has the peers")
    add("--torch_python", help="Python that has torch; default: --peers_python")
    add("--keras_python", help="Python that has keras; default: --peers_python")
    add("--json", type=Path, help="write the result to this file too")
    return parser.parse_args()


def _measure(flags: argparse.Namespace, folder: Path) -> dict[str, Any]:
    what = flags.what.split(",")
    for one in what:
        if one not in WHAT:
            raise UserError(f"--what={one}: must be of {', '.join(WHAT)}")
    result: dict[str, Any] = {"machine": machine.describe(), "settings": _settings(flags)}
    print(_told(result["machine"]))
    pythons = _pythons(flags)
    turns = {"rounds": flags.rounds, "turn_seconds": flags.turn_seconds}
    if "train" in what or "sample" in what:
        present, result["missing"] = _present(flags, pythons)
    if "train" in what:
        result["train"] = _train(flags.batch_size, present, pythons, folder, turns)
    for batch_size in flags.sample_batch_sizes if "sample" in what else []:
        name = f"sample {batch_size}"
        result[name] = _contest("sample", batch_size, present, pythons, folder, turns)
    if "forms" in what:
        forms.check()
        result["forms"] = forms.times(flags.batch_size, flags.rounds)
        print(f"\nForms of the convolutions, batch {flags.batch_size}; * is chosen here\n")
        print(tables.forms(result["forms"]))
    for series in flags.series if "growth" in what else []:
        values = flags.values or growth.series()[series]
        result[f"growth {series}"] = growth.measure(series, values, pythons, folder, **turns)
        print(f"\nThe train step by {series}\n")
        print(tables.growth(series, result[f"growth {series}"]))
        print(tables.disturbance(result[f"growth {series}"]))
    return result


def _settings(flags: argparse.Namespace) -> dict[str, Any]:
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in vars(flags).items()
    }


def _told(found: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    memory = f"{found['memory_bytes'] / 2**30:.0f} GiB"
    return f"{found['processor']}, {found['cores']} cores, {memory}, {found['device']}; {versions}"


def _pythons(flags: argparse.Namespace) -> dict[str, str]:
    return {
        "jax": sys.executable,
        "torch": flags.torch_python or flags.peers_python,
        "keras": flags.keras_python or flags.peers_python,
    }


def _present(
    flags: argparse.Namespace, pythons: Mapping[str, str]
) -> tuple[list[competitors.Competitor], dict[str, str]]:
    """The wanted competitors that can run here, and why the others cannot."""
    device = "cpu" if machine.on_cpu() else "cuda"
    wanted = competitors.chosen(competitors.everyone(device), flags.only)
    missing = competitors.missing(wanted, pythons)
    for package, why in missing.items():
        print(f"left out: {why} (--{package}_python names another Python)")
    present = [one for one in wanted if one.needs not in missing]
    if present and present[0].name != competitors.OURS:
        raise UserError(f"--only: name {competitors.OURS} first; the others are compared with it")
    return present, missing


def _train(
    batch_size: int,
    present: list[competitors.Competitor],
    pythons: Mapping[str, str],
    folder: Path,
    turns: Mapping[str, Any],
) -> dict[str, Any]:
    """The contest of train steps, and the share of the machine's matrix rate that ours reaches."""
    result = _contest("train", batch_size, present, pythons, folder, turns)
    seconds = result["competitors"][competitors.OURS]["median_seconds"]
    result["step"] = {
        "matrix_rates": machine.matrix_rates(pythons, folder, **turns),
        "rate": machine.step_flops(batch_size) / seconds,
        "plain_rate": machine.step_flops(batch_size, "plain") / seconds,
    }
    print("\n" + tables.shares(result["step"]))
    return result


def _contest(
    what: str,
    batch_size: int,
    present: list[competitors.Competitor],
    pythons: Mapping[str, str],
    folder: Path,
    turns: Mapping[str, Any],
) -> dict[str, Any]:
    file = problem.write(folder / f"problem_{batch_size}.npz", batch_size)
    found = compete(present, pythons, lambda _: file, what, folder, **turns)
    result = summary(found, batch_size)
    title = {"train": "Train step", "sample": "Sampling"}[what]
    print("\n" + tables.contest(f"{title}, batch {batch_size}, {turns['rounds']} rounds", result))
    return {"batch_size": batch_size, "competitors": result, "best": rivals(result)}


if __name__ == "__main__":
    sys.exit(main())
