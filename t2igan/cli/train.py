"""`t2igan train`: trains a config's run in a folder, or goes on with it."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from input_pipeline.errors import UserError

if TYPE_CHECKING:
    from ml_collections import ConfigDict

HELP = "Train a model. The same command again goes on where a run was stopped."
EXAMPLE = """
    t2igan train --config=configs/tiny.py --workdir=runs/tiny --config.data.dir=data/shapes
    t2igan train --workdir=runs/tiny                    # goes on with that run
    t2igan train ... --dry_run                          # what it would take; needs no --workdir
    t2igan train ... --dry_run --topology=v5e:4x4       # on devices that are not here
"""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the subcommand's flags; `--config` flags are set aside by the command line."""
    parser.add_argument(
        "--workdir",
        help="the run, a folder or gs://BUCKET/...: made, or resumed; --dry_run and "
        "--print_config do without",
    )
    parser.add_argument(
        "--dry_run",
        action="store_true",
        help="show parameters, memory, images/s and time of the whole run; write nothing",
    )
    parser.add_argument(
        "--print_config",
        action="store_true",
        help="print every field with its meaning, the default, and what differs; train nothing",
    )
    parser.add_argument(
        "--topology",
        metavar="CHIP:SHAPE",
        help="with --dry_run: compile for devices that are absent, and estimate memory, images/s "
        "and hours on them: v5e:4x4, v6e:2x2, v4:2x2x1, v5p:2x2x2, h100:8, ...",
    )
    parser.add_argument(
        "--devices", type=int, default=0, metavar="N", help="use N devices (default: all)"
    )
    several = parser.add_argument_group(
        "several processes", "the same command on every host; SLURM and TPU VMs need no flags"
    )
    several.add_argument("--coordinator_address", metavar="HOST:PORT", help="of process 0")
    several.add_argument("--num_processes", type=int, metavar="N", help="of the whole run")
    several.add_argument("--process_id", type=int, metavar="I", help="of this one, from 0")


def help_end() -> str:
    """Returns what `--help` ends with: the configs that ship with the package, one line each."""
    from t2igan.config.describe import shipped_configs

    configs = shipped_configs()
    width = max(map(len, configs))
    lines = [f"  {name:<{width}}  {line}" for name, line in configs.items()]
    return "configs (--config=NAME; --print_config shows all fields):\n" + "\n".join(lines)


def main(args: argparse.Namespace) -> None:
    """Trains, or shows what training would take.

    Raises:
      UserError: see `training.loop.train`.
      SystemExit: 130 after Ctrl-C, once the run is saved.
    """
    if not (args.workdir or args.dry_run or args.print_config):
        raise UserError("--workdir is missing: add --workdir=RUN, the folder that is trained in")
    from t2igan.runtime.preemption import import_whole, raise_remembered_ctrl_c

    import_whole("t2igan.training.loop")
    from t2igan.workdir.mirror import working_copy

    raise_remembered_ctrl_c()
    if args.topology:
        _use_no_accelerator(args)
    with working_copy(args.workdir) if args.workdir else contextlib.nullcontext() as workdir:
        _train(args, workdir)


def _train(args: argparse.Namespace, workdir: Path | None) -> None:
    from t2igan.config import override, record
    from t2igan.runtime import multihost as distributed
    from t2igan.runtime import peers
    from t2igan.runtime.preemption import raise_remembered_ctrl_c
    from t2igan.training.failures import explained
    from t2igan.workdir import folder as run_folder

    started = run_folder.read_config(workdir) if workdir else None
    config = override.load(args.config_flags, default=started)
    if args.print_config:
        from t2igan.config.describe import described

        print(described(config))
        return
    distributed.initialize(args.coordinator_address, args.num_processes, args.process_id)
    peers.watch()
    raise_remembered_ctrl_c()
    if config.use_compilation_cache:
        from t2igan.runtime.compilation_cache import use_compilation_cache

        use_compilation_cache()
    with record.every_field_known(), explained(config):
        if args.topology:
            from t2igan.training.estimates.compile_report import compile_report

            print(compile_report(config, args.topology))
            return
        if args.dry_run or workdir is None:
            from t2igan.training.estimates.dry_run import dry_run

            print(dry_run(config, args.devices))
            return
        from t2igan.training.loop import train

        outcome = train(config, workdir, args.devices)
    if outcome.stopped_by is None:
        _measure(config, workdir)
    if distributed.is_first_process():
        print(_told(outcome.step, outcome.num_steps, outcome.stopped_by, args.workdir))
    if outcome.stopped_by == signal.SIGINT:
        sys.exit(130)


def _use_no_accelerator(args: argparse.Namespace) -> None:
    """Leaves this machine's own devices to whoever trains on them."""
    if not args.dry_run:
        raise UserError("--topology compiles and does not train: add --dry_run")
    import jax

    jax.config.update("jax_platforms", "cpu")


def _measure(config: ConfigDict, workdir: Path) -> None:
    """Measures a finished run on its test split where `config.evaluate` asks for metrics."""
    import jax

    from t2igan.evaluation.run_generator import is_wanted

    if not is_wanted(config):
        return
    if jax.process_count() == 1:
        from t2igan.evaluation.evaluate import evaluate_finished

        evaluate_finished(workdir)
    elif jax.process_index() == 0:  # a checkpoint is read by all processes or by one alone
        print(f"measure it on test: t2igan evaluate --workdir={workdir} --step=best")


def _told(step: int, num_steps: int, stopped_by: signal.Signals | None, workdir: str) -> str:
    if stopped_by is None:
        return f"{workdir}: all {num_steps} steps are done; t2igan sample --workdir={workdir}"
    return (
        f"{workdir}: stopped by {stopped_by.name} and saved at step {step} of {num_steps}; "
        "the same command goes on from there"
    )
