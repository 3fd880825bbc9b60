"""`t2igan sweep`: trains the trials that a config's `sweep(add)` names, and compares them."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from input_pipeline.errors import UserError

if TYPE_CHECKING:
    from t2igan.sweep.comparison import Comparison
    from t2igan.sweep.queue import Queue

HELP = "Train every trial that a config's sweep(add) names, then write one table and one plot."
EXAMPLE = """
    t2igan sweep --config=configs/tiny.py --workdir=runs/rates --config.data.dir=data/shapes
    t2igan sweep ... --print_commands > commands.txt    # for a cluster's own scheduler
    t2igan sweep ... --workdir=gs://BUCKET/rates --worker    # the same line on each machine
"""

_TRIALS = 20
_METHODS = {"tpe": "where {} was good (TPE)", "random": "at random"}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the subcommand's flags; `--config` flags are set aside by the command line."""
    parser.add_argument("--workdir", required=True, help="folder of the trials' run folders")
    parser.add_argument("--parallel", type=int, default=1, metavar="N", help="trials at a time")
    parser.add_argument(
        "--worker",
        action="store_true",
        help="one of several machines that train the trials of one folder or bucket",
    )
    parser.add_argument(
        "--trials", type=int, default=0, help="of ranges: how many to suggest in all (default 20)"
    )
    parser.add_argument(
        "--search",
        choices=("tpe", "random"),
        default="",
        help="of ranges: by earlier trials' metric, or at random (default: tpe where a metric is "
        "known)",
    )
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
    from t2igan.sweep.devices import check_devices

    if args.parallel < 1:
        raise UserError(f"--parallel={args.parallel}: give 1 or more trials at a time")
    if not (args.print_commands or args.collect):
        check_devices(args.parallel)
    workdir = args.workdir.rstrip("/") or "/"
    queue, by = _queue(args, workdir)
    if args.print_commands:
        for trial in queue.trials():
            print(shlex.join(["python", "-P", "-m", "t2igan", "train", *trial.flags]))
        return
    if not args.collect:
        from t2igan.sweep.runner import run_trials

        run_trials(queue, args.parallel)
    _say(args, workdir, queue, by)


def _queue(args: argparse.Namespace, workdir: str) -> tuple[Queue, Comparison]:
    from t2igan.config.override import load
    from t2igan.runtime import paths
    from t2igan.sweep import trials
    from t2igan.sweep.comparison import Comparison
    from t2igan.sweep.queue import Queue
    from t2igan.sweep.search import Search

    added = trials.added(args.config_flags)
    if not any(map(trials.is_search, added)):
        if args.trials or args.search:
            raise UserError(
                "--trials and --search are of ranges, and the config's sweep(add) gives none: "
                "add(field=t2igan.sweep.Range(LOW, HIGH))"
            )
        found = trials.find_trials(args.config_flags, workdir)
        return Queue(found), Comparison.of(found[0].config, args.metric, args.mode)
    if len(added) > 1:
        raise UserError("a sweep over ranges has one add(...), with all of them")
    if args.print_commands:
        raise UserError(
            "--print_commands: values are suggested while trials end; run this command, with "
            "--worker, on each machine instead"
        )
    if args.trials < 0:
        raise UserError(f"--trials={args.trials}: give 1 or more")
    config = load(args.config_flags)
    by = Comparison.of(config, args.metric, args.mode)
    method = args.search or ("tpe" if by.is_asked else "random")
    if method == "tpe" and not by.is_asked:
        raise UserError(
            "--search=tpe looks where a metric was good: set config.evaluate.metrics, or --metric"
        )
    space = trials.as_space(added[0])
    make = trials.maker(args.config_flags, workdir, space)
    if not paths.is_url(workdir):
        Path(workdir).mkdir(parents=True, exist_ok=True)
    size = args.trials or _TRIALS
    search = Search(workdir, space, make, size=size, method=method, mode=by.mode, seed=config.seed)
    print(f"{size} trials, suggested {_METHODS[method].format(by.metric)}", file=sys.stderr)
    return Queue([], search, by), by


def _say(args: argparse.Namespace, workdir: str, queue: Queue, by: Comparison) -> None:
    from t2igan.runtime import paths
    from t2igan.sweep.results import write_results

    others = queue.elsewhere()
    if others:
        names = ", ".join(trial.name for trial in others)
        print(f"trained by other processes: {names}", file=sys.stderr)
    found = queue.trials()
    if found and not (args.worker and others):
        with paths.output(workdir) as folder:
            folder.mkdir(parents=True, exist_ok=True)
            print(paths.shown(write_results(folder, found, by)))
    if queue.failures:
        print(*queue.failures.values(), sep="\n", file=sys.stderr)
        failed = f"{len(queue.failures)} of {queue.size} trials failed"
        raise UserError(f"{failed}; run this again to retry")
