"""`t2igan train` from its command line: one line for a mistake, a dry run that leaves nothing."""

import json
import os
import re
import signal
from pathlib import Path

import jax
import pytest

from t2igan.backbones import inception_weights
from t2igan.cli.main import main
from t2igan.config import record
from t2igan.runtime.preemption import StopRequest
from t2igan.training import loop
from t2igan.training.estimates.dry_run import parameter_table
from t2igan.training.experiment import open_experiment


@pytest.fixture
def run_flags(tmp_path, config):
    """Flags for a run whose config is already in its folder."""
    workdir = tmp_path / "run"
    workdir.mkdir()
    (workdir / "config.json").write_text(record.to_json(config))
    return [f"--workdir={workdir}"]


def test_dry_run_tells_what_it_would_take_and_writes_nothing(
    tmp_path, run_flags, config, compilation_cache, capsys
):
    before = sorted(tmp_path.rglob("*"))
    assert main(["train", *run_flags, "--dry_run"]) == 0
    assert sorted(tmp_path.rglob("*")) == before
    told = capsys.readouterr().out

    state = open_experiment(config).state_shapes()
    for title, trained, stats in (
        ("generator", state.g_params, state.g_stats),
        ("discriminator", state.d_params, state.d_stats),
    ):
        sizes = [sum(leaf.size for leaf in jax.tree.leaves(tree)) for tree in (trained, stats)]
        assert f"{title}: {sum(sizes):,} parameters, {sizes[0]:,} of them trained" in told
    assert re.search(r"conditioning/Dense_0/kernel +15 x 32 +480", told)
    memory = re.search(r"state included: ([\d.,]+) MB", told)
    assert memory
    assert float(memory[1].replace(",", "")) > 0
    assert re.search(r"[\d.,]+ images/s, [\d.]+ s a step of 8 on 4 x cpu", told)
    assert re.search(r"12 steps: about \d+ s", told)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--config.evaluate.metrics=cmmd"], "clip_vitl14_336 needs its weights"),
        (["--config.evaluate.metrics=kid", "--config.evaluate.features=lite9"], "'lite9'"),
        (["--config.evaluate.metrics=fid30k"], "no Inception weights"),
        (["--config.evaluate.metrics=kid", "--config.evaluate.weights=none"], "no such file"),
    ],
)
def test_a_dry_run_finds_what_measuring_would_lack(
    run_flags, flags, message, compilation_cache, monkeypatch, capsys
):
    monkeypatch.setattr(inception_weights, "usual_places", lambda: [Path("none.pth")])
    monkeypatch.delenv(inception_weights.VARIABLE, raising=False)
    assert main(["train", *run_flags, "--dry_run", *flags]) == 2
    assert message in capsys.readouterr().err


def test_the_parameter_table_adds_up():
    shapes = {
        "params": {"dense": {"kernel": jax.ShapeDtypeStruct((3, 4), "float32")}},
        "batch_stats": {"norm": {"mean": jax.ShapeDtypeStruct((5,), "float32")}},
    }
    title, *rows = parameter_table("network", shapes)
    assert title == "network: 17 parameters, 12 of them trained"
    assert [row.split() for row in rows] == [
        ["dense/kernel", "3", "x", "4", "12"],
        ["norm/mean", "5", "5"],
    ]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--config.train.batch_size=7"], "batch_size=7 cannot be divided over 4 devices"),
        (
            ["--config.model.mbstd_group_size=4"],
            "mbstd_group_size=4 does not divide the 2 images",
        ),
        (["--devices=9"], "--devices=9"),
        (["--devices=-1"], "--devices=-1"),
        (["--process_id=1"], "go together"),
        (["--config.train.step=7"], "did you mean config.train.steps"),
        (["--workdirs=x"], "--workdir"),
        (["--config.data.dir=/nowhere"], "there is no data set at /nowhere"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(run_flags, capsys, flags, message):
    assert main(["train", *run_flags, *flags]) == 2
    told = capsys.readouterr().err
    assert told.startswith("t2igan: error: ")
    assert message in told
    assert told.count("\n") == 1


def test_a_run_that_is_done_says_so(whole_run, capsys):
    assert main(["train", f"--workdir={whole_run}"]) == 0
    assert "all 12 steps are done" in capsys.readouterr().out


def test_a_config_of_another_version_is_one_line(run_flags, config, capsys):
    path = Path(run_flags[0].split("=")[1]) / "config.json"
    del config.unlock().ema
    path.write_text(record.to_json(config))
    assert main(["train", *run_flags]) == 2
    assert "the config has no field 'ema'" in capsys.readouterr().err


def test_no_config_and_no_run_is_a_mistake(tmp_path, capsys):
    assert main(["train", f"--workdir={tmp_path}"]) == 2
    assert "add --config=" in capsys.readouterr().err


def test_nothing_is_left_of_a_start_that_failed(tmp_path, capsys):
    workdir = tmp_path / "run"
    flags = ["--config=configs/tiny.py", "--config.data.dir=/nowhere", f"--workdir={workdir}"]
    assert main(["train", *flags]) == 2
    assert "there is no data set at /nowhere" in capsys.readouterr().err
    assert not workdir.exists()


def test_the_second_ctrl_c_interrupts():
    handler = signal.getsignal(signal.SIGINT)
    with StopRequest() as stop:
        assert not stop.reached(1)
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.reached(2)
        assert stop.signal == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is handler


def test_the_config_in_the_folder_follows_what_may_change(tmp_path, config, compilation_cache):
    config.data.validation_split = ""
    config.train.steps = 1
    loop.train(config, tmp_path)
    config.train.steps, config.train.log_every = 2, 3
    loop.train(config, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["train"]["log_every"] == 3


def test_a_topology_is_for_dry_runs_alone(word_dataset, tmp_path, capsys):
    words = ["train", "--config=configs/tiny.py", f"--config.data.dir={word_dataset}"]
    words += [f"--workdir={tmp_path / 'run'}", "--topology=v5e:2x2"]
    assert main(words) == 2
    assert "add --dry_run" in capsys.readouterr().err
    assert main([*words, "--dry_run", "--topology=v5e:3"]) == 2
    assert "v5e:4x4" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_what_trains_nothing_needs_no_folder(word_dataset, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    words = ["train", "--config=configs/tiny.py", "--config.train.batch_size=8"]
    assert main([*words, "--print_config"]) == 0
    assert "train.batch_size" in capsys.readouterr().out
    assert main([*words, f"--config.data.dir={word_dataset}", "--dry_run"]) == 0
    assert "images/s" in capsys.readouterr().out
    assert main(words) == 2
    assert "add --workdir=RUN" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
