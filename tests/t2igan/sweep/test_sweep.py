"""Sweeps: trials checked before any runs, children stopped and resumed, results in one place."""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from PIL import Image

from input_pipeline.errors import UserError
from t2igan.cli import main as cli
from t2igan.cli import sweep
from t2igan.sweep import devices
from t2igan.sweep import runner as sweep_runner
from t2igan.sweep import trials as trials_of

CONFIG = """
from configs import common

def get_config():
    return common.get_config()

def sweep(add):
    for seed in ({seeds}):
        add(**{{"seed": seed, "train.steps": 4}})
"""

# Stands for `t2igan train`: logs a loss that depends on the seed; seed 2 fails, seed 9 dawdles.
TRAINER = """
import json, os, pathlib, signal, sys, time
flags = dict(word.lstrip("-").split("=", 1) for word in sys.argv[1:])
run = pathlib.Path(flags["workdir"]); seed = int(flags["config.seed"])
with open(run / "starts", "a") as file:
    file.write(os.environ.get("CUDA_VISIBLE_DEVICES", "") + "\\n")
def stop(*_):
    (run / "stopped").touch(); sys.exit(143)
signal.signal(signal.SIGTERM, stop)
(run / "pid").write_text(str(os.getpid()))
if seed == 2 and not (run.parent / "mended").exists():
    sys.exit("t2igan: error: seed 2 is bad")
if seed == 9 and not (run.parent / "mended").exists():
    time.sleep(60)
with open(run / "metrics.jsonl", "a") as file:
    for step in range(1, 5):
        file.write(json.dumps({"step": step, "validation/loss/g": seed + 1.0 / step}) + "\\n")
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "seeds.py"
    path.write_text(CONFIG.format(seeds="1, 2, 3"))
    return path


@pytest.fixture
def trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "trainer.py"
    path.write_text(TRAINER)
    monkeypatch.setattr(
        sweep_runner, "command", lambda trial: [sys.executable, str(path), *trial.flags]
    )
    monkeypatch.setattr(sweep_runner, "POLL_SECONDS", 0.02)
    return path


def _sweep(config: Path, workdir: Path, **others: object) -> None:
    words = [f"--workdir={workdir}", *(f"--{key}={value}" for key, value in others.items())]
    parser = argparse.ArgumentParser()
    sweep.add_flags(parser)
    args = parser.parse_args(words)
    args.config_flags = [f"--config={config}"]
    sweep.main(args)


def _rows(workdir: Path) -> list[dict[str, str]]:
    with (workdir / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_print_commands_gives_a_line_a_trial_that_a_shell_reads_back(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        f"--config={config}",
        "--config.data.dir=a b",
        "--workdir=runs/it's",
        "--print_commands",
    ]
    assert cli.main(["sweep", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert shlex.split(lines[1]) == [
        *("python", "-P", "-m", "t2igan", "train", f"--config={config}", "--config.data.dir=a b"),
        *("--config.seed=2", "--config.train.steps=4"),
        "--workdir=runs/it's/trial_001_seed-2_steps-4",
    ]


@pytest.mark.usefixtures("trainer")
def test_a_failed_trial_leaves_the_rest_and_is_retried_alone(
    config: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    workdir = tmp_path / "sweep"
    with pytest.raises(UserError, match="1 of 3 trials failed"):
        _sweep(config, workdir, parallel=2)
    assert "trial_001_seed-2_steps-4 failed with status 1: seed 2 is bad" in capfd.readouterr().err
    assert [row["status"] for row in _rows(workdir)] == ["finished", "failed", "finished"]

    (workdir / "mended").touch()
    _sweep(config, workdir)
    rows = _rows(workdir)
    assert [row["status"] for row in rows] == ["finished"] * 3
    assert [row["seed"] for row in rows] == ["1", "2", "3"]
    assert [float(row["best validation/loss/g"]) for row in rows] == [1.25, 2.25, 3.25]
    assert [row["best step"] for row in rows] == ["4", "4", "4"]
    starts = [
        len((run / "starts").read_text().splitlines()) for run in sorted(workdir.glob("t*_*/"))
    ]
    assert starts == [1, 2, 1]
    with Image.open(workdir / "plot.png") as plot:
        assert plot.width > 0
    table = (workdir / "table.md").read_text().splitlines()
    assert [line.split(" | ")[0] for line in table[2:]] == ["| 000", "| 001", "| 002"]


@pytest.mark.usefixtures("trainer")
def test_best_may_be_the_largest(config: Path, tmp_path: Path) -> None:
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "mended").touch()
    _sweep(config, tmp_path / "sweep", mode="max")
    table = (tmp_path / "sweep" / "table.md").read_text().splitlines()
    assert [line.split(" | ")[0] for line in table[2:]] == ["| 002", "| 001", "| 000"]
    with pytest.raises(UserError, match="no trial has the metric fid"):
        _sweep(config, tmp_path / "sweep", metric="fid")


@pytest.mark.usefixtures("trainer")
def test_a_longer_run_is_not_finished_yet(config: Path, tmp_path: Path) -> None:
    (tmp_path / "mended").touch()
    _sweep(config, tmp_path)
    config.write_text(config.read_text().replace("}", ', "train.log_every": 2}'))
    trials = trials_of.find_trials([f"--config={config}"], tmp_path)
    assert not any(trial.finished for trial in trials)


@pytest.mark.usefixtures("trainer")
def test_slots_share_out_the_gpus(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mended").touch()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6")
    _sweep(config, tmp_path, parallel=3)
    starts = [(run / "starts").read_text().strip() for run in sorted(tmp_path.glob("trial_*/"))]
    assert starts == ["4", "5", "6"]


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_sweep_leaves_no_child_and_resumes(
    stop: signal.Signals, config: Path, trainer: Path, tmp_path: Path
) -> None:
    config.write_text(CONFIG.format(seeds="1, 9"))
    workdir = tmp_path / "sweep"
    script = textwrap.dedent(f"""
        import sys
        from t2igan.cli import main as cli
        from t2igan.sweep import runner as sweep_runner
        sweep_runner.command = lambda trial: [sys.executable, {str(trainer)!r}, *trial.flags]
        sys.exit(cli.main(sys.argv[1:]))
    """)
    words = ["sweep", f"--config={config}", f"--workdir={workdir}"]
    child = subprocess.Popen(
        [sys.executable, "-c", script, *words], stderr=subprocess.PIPE, start_new_session=True
    )
    slow = workdir / "trial_001_seed-9_steps-4"
    deadline = time.monotonic() + 120
    while not (slow / "pid").exists() or not (slow / "pid").read_text():
        assert time.monotonic() < deadline, "the second trial never started"
        time.sleep(0.05)
    child.send_signal(stop)
    _, said = child.communicate(timeout=120)
    assert child.returncode == 130
    assert b"Traceback" not in said
    assert (slow / "stopped").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int((slow / "pid").read_text()), 0)

    (workdir / "mended").touch()
    done = subprocess.run([sys.executable, "-c", script, *words], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert [row["status"] for row in _rows(workdir)] == ["finished", "finished"]


@pytest.mark.parametrize(
    ("body", "lesson"),
    [
        ("", "has no sweep"),
        ("def sweep(add): pass", "adds no trial"),
        ("def sweep(add): add(sede=1)", "no field config.sede; did you mean config.seed?"),
        ("def sweep(add): add(seed='x')", "takes a whole number"),
        ("def sweep(add): add(seed=1); add(seed=1)", "same config as trial_000"),
        ("def sweep(add): add(1)", "sweep.add.: TypeError"),
        ("def sweep(add): 1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_wrong_sweep_teaches_before_anything_runs(body: str, lesson: str, tmp_path: Path) -> None:
    config = tmp_path / "wrong.py"
    config.write_text(CONFIG.format(seeds="1").partition("def sweep")[0] + body)
    with pytest.raises(UserError, match=lesson):
        _sweep(config, tmp_path / "sweep")
    assert not (tmp_path / "sweep").exists()


def test_a_sweep_is_given_the_argument_that_the_config_is(tmp_path: Path) -> None:
    path = tmp_path / "counted.py"
    path.write_text(
        "from configs import common\n"
        "def get_config(count='1'):\n    return common.get_config()\n"
        "def sweep(add, count='1'):\n    [add(seed=seed) for seed in range(int(count))]\n"
    )
    for arg, expected in (("", 1), (":3", 3)):
        found = trials_of.find_trials([f"--config={path}{arg}"], tmp_path)
        assert [trial.config.seed for trial in found] == list(range(expected))


def test_parallel_below_one_is_refused(config: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--parallel=0"):
        _sweep(config, tmp_path / "sweep", parallel=0)


def test_collect_reads_what_others_have_run(config: Path, tmp_path: Path) -> None:
    run = tmp_path / "trial_000_seed-1_steps-4"
    run.mkdir()
    lines = [{"step": 1, "validation/loss/g": 5.0}, {"step": 2, "validation/loss/g": float("nan")}]
    half = '{"step": 3, "valid'  # a kill in the middle of a line
    (run / "metrics.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines) + half)
    (run / "evaluation.jsonl").write_text('{"step": 2, "kid": 0.5}\n')
    parser = argparse.ArgumentParser()
    sweep.add_flags(parser)
    args = parser.parse_args([f"--workdir={tmp_path}", "--collect"])
    args.config_flags = [f"--config={config}"]
    sweep.main(args)
    rows = _rows(tmp_path)
    assert (rows[0]["best validation/loss/g"], rows[0]["kid"], rows[0]["step"]) == (
        "5.0",
        "0.5",
        "2",
    )
    assert [row["status"] for row in rows] == ["unfinished"] * 3


def test_trials_side_by_side_need_devices_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for name in ("nvidia0", "nvidia1", "nvidiactl"):
        (tmp_path / name).touch()
    monkeypatch.setattr(devices, "_GPUS", str(tmp_path / "nvidia[0-9]*"))
    monkeypatch.setattr(devices.re, "fullmatch", lambda _, path: re.search(r"nvidia(\d+)", path))
    assert devices.own_device(1, 2) == {"CUDA_VISIBLE_DEVICES": "1"}
    devices.check_devices(2)
    with pytest.raises(UserError, match="there are 2 GPUs here"):
        devices.check_devices(3)
    (tmp_path / "accel0").touch()
    monkeypatch.setattr(devices, "_TPU_CHIPS", (str(tmp_path / "accel*"),))
    with pytest.raises(UserError, match="TPU host"):
        devices.check_devices(2)
    devices.check_devices(1)
