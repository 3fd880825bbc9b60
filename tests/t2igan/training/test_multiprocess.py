"""Two real processes train what one process trains, and stop together."""

import os
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from input_pipeline.errors import UserError
from t2igan.config import record
from t2igan.runtime import multihost as distributed
from t2igan.training import loop
from t2igan.workdir.checkpoint_dir import list_steps

# Compiled quickly rather than well.
# Where a flag comes twice, the last one counts.
_TWO_DEVICES = os.environ["XLA_FLAGS"] + " --xla_force_host_platform_device_count=2"
# Steps so slow that the news of a signal, looked for once a second, comes before the last.
SCRIPT = """
    import os, signal, sys, time
    from t2igan.cli.main import main
    from t2igan.training.progress import StepReports

    add = StepReports.add
    def add_slowly(self, step, metrics):
        add(self, step, metrics)
        if step >= 7:
            time.sleep(1.5)
            if step == 7 and "--process_id=1" in flags:
                os.kill(os.getpid(), signal.SIGTERM)
    StepReports.add = add_slowly
    sys.exit(main(flags))
"""


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


def _train_in_two(workdir: Path) -> list[tuple[int, str, str]]:
    """Returns (exit status, stdout, stderr) of two processes of two devices each."""
    address = f"localhost:{_free_port()}"
    flags = ["train", f"--workdir={workdir}", f"--coordinator_address={address}"]
    running = []
    for index in range(2):
        words = [*flags, "--num_processes=2", f"--process_id={index}"]
        running.append(
            subprocess.Popen(
                [sys.executable, "-c", f"flags = {words}\n" + textwrap.dedent(SCRIPT)],
                env=os.environ | {"XLA_FLAGS": _TWO_DEVICES},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    try:
        outputs = [process.communicate(timeout=400) for process in running]
    finally:
        for process in running:
            process.kill()
    return [(process.returncode, *output) for process, output in zip(running, outputs, strict=True)]


def test_two_processes_train_as_one_and_stop_together(tmp_path, config, whole_run, runs):
    """Two train until one is sent SIGTERM; what both have saved, one process takes to the end."""
    (tmp_path / "config.json").write_text(record.to_json(config))
    ended = _train_in_two(tmp_path)
    assert [status for status, _, _ in ended] == [0, 0], ended
    stopped_at = list_steps(tmp_path)[-1]
    assert 7 <= stopped_at < 12
    assert f"stopped by SIGTERM and saved at step {stopped_at} of 12" in ended[0][1]
    assert "stopped" not in ended[1][1]  # the first process speaks for all
    assert "images/s" not in ended[1][2]
    assert runs.metrics_of(tmp_path)[-1]["step"] == stopped_at

    assert loop.train(config, tmp_path) == loop.Outcome(12, 12)
    runs.assert_close(whole_run, tmp_path)
    lines, expected = runs.metrics_of(tmp_path), runs.metrics_of(whole_run)
    for line, known in zip(lines, expected, strict=True):
        assert line == pytest.approx(known, rel=1e-2, abs=1e-3)
    names = [path.name for path in sorted((tmp_path / "samples").iterdir())]
    assert names == ["step_00000006.png", "step_00000012.png"]


@pytest.mark.parametrize(
    "flags",
    [
        ("localhost:1234", None, None),
        (None, 2, 0),
        ("localhost", 2, 0),
        ("localhost:1234", 2, 2),
        ("localhost:1234", 0, 0),
        ("localhost:1234", 2, -1),
    ],
)
def test_flags_that_make_no_sense_are_refused_before_anyone_waits(flags):
    with pytest.raises(UserError, match="--"):
        distributed.initialize(*flags)


@pytest.mark.parametrize(
    ("environment", "several"),
    [
        ({}, False),
        ({"SLURM_NTASKS": "4"}, False),  # the shell of an allocation, outside srun
        ({"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, False),
        ({"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3"}, True),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, False),
        ({"TPU_WORKER_HOSTNAMES": "10.0.0.1,10.0.0.2"}, True),
        ({"JAX_COORDINATOR_ADDRESS": "10.0.0.1:8476"}, True),
    ],
)
def test_the_environment_says_whether_there_are_others(environment, several):
    assert distributed.environment_has_processes(environment) == several


def test_when_one_process_dies_the_other_ends_in_one_line(tmp_path, config):
    config.train.steps = 100_000
    (tmp_path / "config.json").write_text(record.to_json(config))
    address = f"localhost:{_free_port()}"
    flags = [f"--workdir={tmp_path}", f"--coordinator_address={address}", "--num_processes=2"]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "t2igan", "train", *flags, f"--process_id={index}"],
            env=os.environ | {"XLA_FLAGS": _TWO_DEVICES},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]
    try:
        deadline = time.monotonic() + 200
        while not list_steps(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert list_steps(tmp_path)
        running[1].kill()
        start = time.monotonic()
        said = running[0].communicate(timeout=60)[1]
        assert time.monotonic() - start < 30
    finally:
        for process in running:
            process.kill()
            process.communicate()
    assert running[0].returncode in (1, 2)
    (line,) = [line for line in said.splitlines() if "t2igan: error" in line]
    assert "newest checkpoint" in line
    assert "Traceback" not in said
