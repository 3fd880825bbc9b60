"""`t2igan sweep`: trains the trials that a config's `sweep(add)` names, and compares them."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from input_pipeline.errors import UserError

if TYPE_CHECKING:
    from ml_collections import ConfigDict

HELP = "Train every trial that a config's sweep(add) names, then write one table and one plot."
EXAMPLE = """
    t2igan sweep --config=configs/tiny.py --workdir=runs/rates --config.data.dir=data/shapes
    t2igan sweep ... --print_commands > commands.txt    # for a cluster's own scheduler
"""

FINISHED = "finished.json"


@dataclasses.dataclass(frozen=True)
class Trial:
    """One run of a sweep.

    Attributes:
      name: of its folder, such as `trial_000_seed-1`.
      overrides: fields that set it apart, by dotted name.
      config: the whole config.
      workdir: its run folder.
      flags: the words after `t2igan train`.
    """

    name: str
    overrides: dict[str, Any]
    config: ConfigDict
    workdir: Path
    flags: tuple[str, ...]

    @property
    def finished(self) -> bool:
        """Whether this very config was trained to its end; what is damaged was not."""
        from t2igan.config import changes, read

        marker = self.workdir / FINISHED
        try:
            return marker.is_file() and not changes(read(marker), self.config)
        except UserError:
            return False

    def mark_finished(self) -> None:
        """Makes `finished` true."""
        from t2igan.config import to_json

        self.workdir.mkdir(parents=True, exist_ok=True)
        partial = self.workdir / (FINISHED + ".partial")
        partial.write_text(to_json(self.config))
        os.replace(partial, self.workdir / FINISHED)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's flags; `--config` flags are set aside by the command line."""
    parser.add_argument("--workdir", required=True, help="folder of the trials' run folders")
    parser.add_argument("--parallel", type=int, default=1, metavar="N", help="trials at a time")
    parser.add_argument(
        "--metric", default="", help="what to compare by (default: config.checkpoint.best_metric)"
    )
    parser.add_argument(
        "--mode",
        choices=("min", "max"),
        default="",
        help="which of its values is best (default: config.checkpoint.best_mode)",
    )
    parser.add_argument(
        "--print_commands", action="store_true", help="print one command a line; run nothing"
    )
    parser.add_argument(
        "--collect", action="store_true", help="write table and plot of what is there; run nothing"
    )


def main(args: argparse.Namespace) -> None:
    """Prints the commands, or runs what is unfinished and writes the results.

    Raises:
      UserError: the config has no trials, or some trial failed.
    """
    from t2igan.sweep_results import write_results
    from t2igan.sweep_runner import run_trials

    if args.parallel < 1:
        raise UserError(f"--parallel={args.parallel}: give 1 or more trials at a time")
    workdir = Path(args.workdir)
    trials = find_trials(args.config_flags, workdir)
    if args.print_commands:
        for trial in trials:
            print(shlex.join(["python", "-m", "t2igan", "train", *trial.flags]))
        return
    workdir.mkdir(parents=True, exist_ok=True)
    failures = {} if args.collect else run_trials(trials, args.parallel)
    print(write_results(workdir, trials, args.metric, args.mode, failures))
    if failures:
        print(*failures.values(), sep="\n", file=sys.stderr)
        raise UserError(f"{len(failures)} of {len(trials)} trials failed; run this again to retry")


def find_trials(config_flags: Sequence[str], workdir: Path) -> list[Trial]:
    """The sweep's trials, each with its config checked before any is run.

    A `sweep(add, arg)` is given ARG, as `get_config(arg)` is.

    Args:
      config_flags: `--config=FILE.py[:ARG]` and overrides that hold for all trials.
      workdir: folder of their run folders.

    Raises:
      UserError: no `sweep` in the file, no trials, a trial with an unknown field or a wrong type,
        two trials alike.
    """
    from t2igan.config import load, split_files
    from t2igan.config_files import load_module, split_argument

    files, _ = split_files(config_flags)
    if not files:
        raise UserError("no experiment given: add --config=configs/NAME.py with a sweep(add)")
    path, arg = split_argument(files[-1].partition("=")[2])
    sweep = getattr(load_module(path), "sweep", None)
    if not callable(sweep):
        raise UserError(f"--config={path} has no sweep(add); write one that calls add(**overrides)")
    drawn: list[dict[str, Any]] = []
    takes_arg = arg is not None and len(inspect.signature(sweep).parameters) > 1
    try:
        sweep(lambda **overrides: drawn.append(overrides), *([arg] if takes_arg else []))
    except Exception as error:
        raise UserError(f"--config={path}: sweep(add): {type(error).__name__}: {error}") from error
    if not drawn:
        raise UserError(f"--config={path}: its sweep(add) adds no trial")
    trials = []
    for number, overrides in enumerate(drawn):
        name = trial_name(number, overrides)
        flags = (*config_flags, *(_as_flag(key, value) for key, value in overrides.items()))
        run = workdir / name
        trials.append(Trial(name, overrides, load(flags), run, (*flags, f"--workdir={run}")))
    _refuse_twins(trials)
    return trials


def trial_name(number: int, overrides: dict[str, Any]) -> str:
    """A folder name that says what sets the trial apart, safe on any file system."""
    parts = [f"{key.rpartition('.')[2]}-{value}" for key, value in overrides.items()]
    slug = re.sub(r"[^A-Za-z0-9._-]+", "_", "_".join(parts))[:80].strip("._-")
    return f"trial_{number:03d}_{slug}".rstrip("_")


def _as_flag(key: str, value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"--config.{key}={text}"


def _refuse_twins(trials: Sequence[Trial]) -> None:
    from t2igan.config import to_json

    seen: dict[str, str] = {}
    for trial in trials:
        twin = seen.setdefault(to_json(trial.config), trial.name)
        if twin != trial.name:
            raise UserError(f"{trial.name} is the same config as {twin}: change one of them")
