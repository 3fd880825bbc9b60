"""`t2igan sweep`: trains the trials that a config's `sweep(add)` names, and compares them."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import sys
from pathlib import Path

from input_pipeline.errors import UserError

HELP = "Train every trial that a config's sweep(add) names, then write one table and one plot."
EXAMPLE = """
    t2igan sweep --config=configs/tiny.py --workdir=runs/rates --config.data.dir=data/shapes
    t2igan sweep ... --print_commands > commands.txt    # for a cluster's own scheduler
"""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the subcommand's flags; `--config` flags are set aside by the command line."""
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
    from t2igan.sweep.runner import check_devices
    from t2igan.workdir.mirror import working_copy

    if args.parallel < 1:
        raise UserError(f"--parallel={args.parallel}: give 1 or more trials at a time")
    if not (args.print_commands or args.collect):
        check_devices(args.parallel)
    with working_copy(args.workdir) as workdir:
        _sweep(args, workdir)


def _sweep(args: argparse.Namespace, workdir: Path) -> None:
    from t2igan.runtime import paths
    from t2igan.sweep.results import write_results
    from t2igan.sweep.runner import run_trials
    from t2igan.sweep.trials import find_trials
    from t2igan.workdir.mirror import mirror_of

    trials = find_trials(args.config_flags, workdir)
    if args.print_commands:
        for trial in trials:
            command = shlex.join(["python", "-P", "-m", "t2igan", "train", *trial.flags])
            print(paths.shown(command))
        return
    workdir.mkdir(parents=True, exist_ok=True)
    mirror = mirror_of(workdir)
    with mirror.claimed() if mirror else contextlib.nullcontext():
        failures = {} if args.collect else run_trials(trials, args.parallel)
        print(paths.shown(write_results(workdir, trials, args.metric, args.mode, failures)))
    if failures:
        print(*failures.values(), sep="\n", file=sys.stderr)
        raise UserError(f"{len(failures)} of {len(trials)} trials failed; run this again to retry")
