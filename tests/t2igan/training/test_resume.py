"""A run that is stopped or killed, however and whenever, ends as one that never was."""

import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from t2igan.config import record
from t2igan.training import loop
from t2igan.workdir.checkpoint_dir import list_steps, step_folder

# Each ends the process in its own way at a chosen moment, after STEPS steps of training.
KILL_WHILE_SAVING = """
    save = Checkpoints.save
    def save_and_die(self, *args):
        save(self, *args)
        os.kill(os.getpid(), signal.SIGKILL)
    Checkpoints.save = save_and_die
"""
KILL_BEFORE_THE_MANIFEST = """
    manifests.write = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
"""


def train_in_process(workdir: Path, ending: str) -> subprocess.CompletedProcess:
    """Runs `t2igan train --workdir` on the run's own config, with an ending built in."""
    script = """
        import os, signal, sys
        from t2igan.cli.main import main
        from t2igan.workdir import manifest as manifests
        from t2igan.workdir.checkpoints import Checkpoints
        from t2igan.training.progress import StepReports
    """
    script = textwrap.dedent(script) + textwrap.dedent(ending)
    script += f"\nsys.exit(main(['train', '--workdir={workdir}']))"
    return subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_stopped_in_every_way_it_ends_as_if_never_stopped(tmp_path, config, whole_run, runs):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text(record.to_json(config))

    done = train_in_process(broken, KILL_WHILE_SAVING)  # the save at 4, under way
    assert done.returncode == -signal.SIGKILL, done.stderr
    done = train_in_process(broken, runs.AT_STEP.format(step=5, name="SIGTERM"))
    assert done.returncode == 0, done.stderr
    assert "stopped by SIGTERM and saved at step 5 of 12" in done.stdout
    assert list_steps(broken)[-1] == 5
    done = train_in_process(broken, runs.AT_STEP.format(step=6, name="SIGINT"))
    assert done.returncode == 130, done.stderr
    assert "stopped by SIGINT and saved at step 6 of 12" in done.stdout
    done = train_in_process(broken, KILL_BEFORE_THE_MANIFEST)  # of step 8
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert list_steps(broken)[-1] == 6

    assert loop.train(config, broken) == loop.Outcome(12, 12)
    runs.assert_same(whole_run, broken)
    assert not list((broken / "checkpoints").glob("*tmp*"))


def test_damage_falls_back_and_ends_the_same(tmp_path, config, whole_run, runs, capsys):
    broken = tmp_path / "broken"
    shutil.copytree(whole_run, broken)
    path = next(step_folder(broken, 12).glob("state/d/*"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert loop.train(config, broken) == loop.Outcome(12, 12)
    assert "checkpoint of step 12 is not whole" in capsys.readouterr().err
    runs.assert_same(whole_run, broken)


def test_a_longer_run_is_the_run_that_was_longer_from_the_start(tmp_path, config, whole_run, runs):
    config.train.steps = 6
    loop.train(config, tmp_path)
    config.train.steps = 12
    config.train.checkpoint_every = 5
    loop.train(config, tmp_path)
    runs.assert_same(whole_run, tmp_path)


def test_resumes_on_another_number_of_devices(tmp_path, config, whole_run, runs):
    config.data.validation_split = ""
    config.train.steps = 8
    loop.train(config, tmp_path, num_devices=4)
    config.train.steps = 12
    loop.train(config, tmp_path, num_devices=2)
    runs.assert_close(whole_run, tmp_path)


def test_pmap_trains_the_same(tmp_path, config, whole_run, runs):
    config.data.validation_split = ""
    config.train.mapper = "pmap"
    config.train.steps = 4
    loop.train(config, tmp_path)
    found, expected = runs.metrics_of(tmp_path), runs.metrics_of(whole_run)
    for line, known in zip(found[:4], expected[:4], strict=True):
        assert line == pytest.approx(known, rel=1e-4)
