"""Runs trials as child processes, some at a time, and leaves none behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from input_pipeline.errors import InUse
from t2igan.runtime import paths
from t2igan.sweep.devices import own_device
from t2igan.sweep.queue import LOG

if TYPE_CHECKING:
    from t2igan.sweep.queue import Queue
    from t2igan.sweep.trials import Trial

POLL_SECONDS = 0.5
_LOG_SECONDS = 10.0  # between lines of progress that go to a file
# Between two looks for something to train while other trials run: those of others may end.
_LOOK_SECONDS = 30.0
# What a child may take to save its checkpoint after it was asked to stop.
STOP_SECONDS = 60.0
# Words that name the whole of an error in a child's log.
_ERROR = "t2igan: error: "


class Child:
    """A trial's process.

    Attributes:
      trial: what it trains.
      process: the process; its output goes to `log.txt` beside the run.
    """

    def __init__(self, trial: Trial, slot: int, parallel: int, scratch: Path) -> None:
        """Starts it.

        Args:
          trial: to train.
          slot: from 0, of those trained at a time; it decides the GPUs.
          parallel: how many there are.
          scratch: folder for the log of a run in a bucket.
        """
        self.trial = trial
        in_bucket = paths.is_url(trial.workdir)
        self._log = scratch / f"{trial.name}.txt" if in_bucket else Path(trial.workdir) / LOG
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                command(trial),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | own_device(slot, parallel),
                start_new_session=True,  # Ctrl-C reaches the sweep alone, which then stops them
            )

    def keep_log(self) -> None:
        """Uploads the log of a run in a bucket, after what is there."""
        if paths.is_url(self.trial.workdir):
            url = paths.join(self.trial.workdir, LOG)
            paths.write_bytes(url, (paths.read_bytes(url) or b"") + self._log.read_bytes())
            self._log.unlink()

    def why(self) -> str:
        """Returns one line of why it ended, from its last words."""
        where = paths.join(self.trial.workdir, LOG)
        if self.process.returncode == 0:
            step = self.trial.last_step()
            return f"{self.trial.name} was stopped at step {step} (see {where})"
        with self._log.open("rb") as file:
            file.seek(max(0, self._log.stat().st_size - 4096))
            words = " ".join(file.read().decode(errors="replace").split())
        words = words.rpartition(_ERROR)[2][:300]
        status = self.process.returncode
        return f"{self.trial.name} failed with status {status}: {words} (see {where})"


def run_trials(queue: Queue, parallel: int) -> None:
    """Trains what is left of a sweep, until nothing is, or what is left is trained elsewhere.

    Ctrl-C or SIGTERM stops all children, which save first; the same command then resumes them.

    Args:
      queue: of the trials; says afterwards which have failed.
      parallel: how many run at a time, >= 1.
    """
    running: dict[int, Child] = {}
    bar = tqdm(
        total=queue.size,
        unit="trial",
        desc="sweep",
        mininterval=0.1 if sys.stderr.isatty() else _LOG_SECONDS,
    )
    shown = looked = -_LOOK_SECONDS
    is_idle = False
    with (
        tempfile.TemporaryDirectory(prefix="t2igan-sweep-") as scratch,
        bar,
        queue.closing(),
        _sigterm_is_ctrl_c(),
        _none_left_behind(running),
    ):
        while running or not is_idle:
            if len(running) < parallel and time.monotonic() - looked > _LOOK_SECONDS:
                is_idle = not _fill(running, queue, parallel, Path(scratch))
                looked = time.monotonic()
                bar.update(queue.ended() - bar.n)
            time.sleep(POLL_SECONDS)
            for slot in [s for s, child in running.items() if child.process.poll() is not None]:
                _end(running.pop(slot), queue, bar)
                is_idle, looked = False, -_LOOK_SECONDS
            if time.monotonic() - shown > bar.mininterval:
                shown = time.monotonic()
                bar.set_postfix_str(_progress(child.trial for child in running.values()))


def command(trial: Trial) -> list[str]:
    """Returns the child's command line."""
    return [sys.executable, "-P", "-m", "t2igan", "train", *trial.flags]


def _fill(running: dict[int, Child], queue: Queue, parallel: int, scratch: Path) -> bool:
    """Starts a trial in each free slot while there are any; returns whether all are taken now."""
    for slot in range(parallel):
        if slot not in running:
            trial = queue.take()
            if trial is None:
                return False
            running[slot] = Child(trial, slot, parallel, scratch)
    return True


def _end(child: Child, queue: Queue, bar: tqdm) -> None:
    trial, status = child.trial, child.process.returncode
    why = child.why()
    child.keep_log()
    if status and InUse.WORDS in why:
        queue.refuse(trial)
    elif status == 0 and trial.last_step() >= trial.config.train.steps:
        queue.finish(trial)
    else:
        bar.write(why, file=sys.stderr)
        queue.fail(trial, why)


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
def _none_left_behind(running: dict[int, Child]) -> Iterator[None]:
    """Stops what still runs when the block ends early: kindly, and after a while for good."""
    try:
        yield
    finally:
        children = [child.process for child in running.values()]
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


def _progress(trials: Iterable[Trial]) -> str:
    """Where each running trial is."""
    parts = []
    for trial in trials:
        total = trial.config.train.steps
        parts.append(f"{trial.name[:9]} step {trial.last_step()}" + (f"/{total}" if total else ""))
    return ", ".join(parts)
