"""Runs trials as child processes, some at a time, and leaves none behind."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tqdm import tqdm

from input_pipeline.errors import UserError
from input_pipeline.files import is_number, last_line

if TYPE_CHECKING:
    from t2igan.sweep.trials import Trial

LOG = "log.txt"
POLL_SECONDS = 0.5
_TPU_CHIPS = ("/dev/accel*", "/dev/vfio/[0-9]*")
_GPUS = "/dev/nvidia[0-9]*"
_LOG_SECONDS = 10.0  # between lines of progress that go to a file
# What a child may take to save its checkpoint after it was asked to stop.
STOP_SECONDS = 60.0


def run_trials(trials: Sequence[Trial], parallel: int) -> dict[str, str]:
    """Returns one line for each trial that failed, by its name.

    Ctrl-C or SIGTERM stops all children, which save first; the same command then resumes them.

    Args:
      trials: those that are finished are skipped.
      parallel: how many run at a time, >= 1.
    """
    waiting = [trial for trial in trials if not trial.finished]
    failures: dict[str, str] = {}
    running: dict[int, tuple[Trial, subprocess.Popen[bytes]]] = {}
    bar = tqdm(
        total=len(trials),
        initial=len(trials) - len(waiting),
        unit="trial",
        desc="sweep",
        mininterval=0.1 if sys.stderr.isatty() else _LOG_SECONDS,
    )
    shown = time.monotonic()
    with bar, _sigterm_is_ctrl_c(), _none_left_behind(running):
        while waiting or running:
            for slot in range(parallel):
                if slot not in running and waiting:
                    trial = waiting.pop(0)
                    running[slot] = trial, _start(trial, slot, parallel)
            time.sleep(POLL_SECONDS)
            for slot in list(running):
                trial, child = running[slot]
                if child.poll() is None:
                    continue
                del running[slot]
                bar.update()
                if child.returncode == 0 and _last_step(trial) >= trial.config.train.steps:
                    trial.mark_finished()
                else:
                    failures[trial.name] = _why(trial, child.returncode)
                    bar.write(failures[trial.name], file=sys.stderr)
            if time.monotonic() - shown > bar.mininterval:
                shown = time.monotonic()
                bar.set_postfix_str(_progress([trial for trial, _ in running.values()]))
    return failures


def command(trial: Trial) -> list[str]:
    """Returns the child's command line."""
    return [sys.executable, "-P", "-m", "t2igan", "train", *trial.flags]


def _start(trial: Trial, slot: int, parallel: int) -> subprocess.Popen[bytes]:
    trial.workdir.mkdir(parents=True, exist_ok=True)
    with (trial.workdir / LOG).open("ab") as log:
        return subprocess.Popen(
            command(trial),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | _own_device(slot, parallel),
            start_new_session=True,  # Ctrl-C reaches the sweep alone, which then stops them in turn
        )


def check_devices(parallel: int) -> None:
    """Refuses trials side by side where they could not share the devices.

    Args:
      parallel: trials at a time.

    Raises:
      UserError: on a TPU host, whose chips belong to one process; or there are fewer GPUs.
    """
    if parallel == 1:
        return
    if any(glob.glob(pattern) for pattern in _TPU_CHIPS):
        raise UserError(
            f"--parallel={parallel}: the chips of a TPU host belong to one process; run one trial "
            "at a time, which uses them all"
        )
    devices = _gpus()
    if devices and len(devices) < parallel:
        raise UserError(
            f"--parallel={parallel}: there are {len(devices)} GPUs here, and a trial has one of "
            "its own at least"
        )


def _gpus() -> list[str]:
    """What `CUDA_VISIBLE_DEVICES` lists, else the numbers of the GPUs of this machine."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        return [name for name in listed.split(",") if name]
    found = (re.fullmatch(r"/dev/nvidia(\d+)", path) for path in glob.glob(_GPUS))
    return sorted((match[1] for match in found if match), key=int)


def _own_device(slot: int, parallel: int) -> dict[str, str]:
    """GPUs of its own for each slot, where there are enough of them."""
    devices = _gpus()
    if parallel == 1 or len(devices) < parallel:
        return {}
    share = len(devices) // parallel
    return {"CUDA_VISIBLE_DEVICES": ",".join(devices[slot * share : (slot + 1) * share])}


@contextlib.contextmanager
def _sigterm_is_ctrl_c() -> Iterator[None]:
    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _none_left_behind(running: dict[int, tuple[Trial, subprocess.Popen[bytes]]]) -> Iterator[None]:
    """Stops what still runs when the block ends early: kindly, and after a while for good."""
    try:
        yield
    finally:
        children = [child for _, child in running.values()]
        for child in children:
            child.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        try:
            for child in children:
                child.wait(max(0.0, deadline - time.monotonic()))
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            for child in children:
                child.kill()
            for child in children:
                child.wait()
            raise KeyboardInterrupt from None


def _progress(trials: Sequence[Trial]) -> str:
    """Where each running trial is."""
    parts = []
    for trial in trials:
        total = trial.config.train.steps
        parts.append(f"{trial.name[:9]} step {_last_step(trial)}" + (f"/{total}" if total else ""))
    return ", ".join(parts)


def _last_step(trial: Trial) -> int:
    """The step last logged; a trial that somebody stopped ends well, but before its last."""
    step = last_line(trial.workdir / "metrics.jsonl").get("step")
    return max(0, step) if isinstance(step, int) and is_number(step) else 0


def _why(trial: Trial, status: int) -> str:
    """The child's last words."""
    log = trial.workdir / LOG
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4096))
        lines = file.read().decode(errors="replace").split()
        words = " ".join(lines).rpartition("t2igan: error: ")[2][-200:]
    if status == 0:
        return f"{trial.name} was stopped at step {_last_step(trial)} (see {log})"
    return f"{trial.name} failed with status {status}: {words} (see {log})"
