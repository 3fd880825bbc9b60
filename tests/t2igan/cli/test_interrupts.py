"""Ctrl-C at any moment: nothing is swallowed, no traceback, and 130 at the end."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import pytest

TRIES = int(os.environ.get("INTERRUPTS", "6"))


def _interrupted(seconds: float, *words: str) -> tuple[int, str]:
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "t2igan", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    time.sleep(seconds)
    child.send_signal(signal.SIGINT)
    try:
        said = child.communicate(timeout=120)[0]
    finally:
        child.kill()
    return child.returncode, said


def test_in_training(dataset_path, tmp_path):
    moments = random.Random(1)
    for _ in range(TRIES):
        flags = ["--config=configs/tiny.py", f"--workdir={tmp_path / 'run'}"]
        flags += [f"--config.data.dir={dataset_path}", "--config.train.steps=100000"]
        status, said = _interrupted(moments.uniform(0.2, 6), "train", *flags)
        # Before the first line of the package's own code the signal itself ends the process.
        assert status in (130, -signal.SIGINT), said
        assert "Traceback" not in said


@pytest.mark.parametrize("seconds", [2.5, 5.0])
def test_in_an_evaluation(dataset_path, whole_run, seconds):
    flags = [f"--workdir={whole_run}", "--metrics=frechet", "--num=20000"]
    status, said = _interrupted(seconds, "evaluate", *flags)
    assert status == 130, said
    assert "Traceback" not in said
