"""Metrics beside training: what they are, what they leave alone, and which checkpoint is best."""

import json
import shutil

import jax
import numpy as np
import pytest

from input_pipeline.errors import UserError
from t2igan.cli.main import main
from t2igan.config import record
from t2igan.metrics.features import network as feature_network
from t2igan.training import loop
from t2igan.training.experiment import open_experiment
from t2igan.training.hooks.metrics import Evaluation
from t2igan.workdir.checkpoint_dir import best_step, list_steps
from t2igan.workdir.checkpoints import restore_item

METRIC = "validation/frechet_lite0"


@pytest.fixture
def network(stub_network, monkeypatch):
    """Stands where lite0 would; `shown` counts the images that it was given, by image set."""
    monkeypatch.setattr(feature_network, "load", lambda name, weights=None: stub_network)
    return stub_network


@pytest.fixture
def evaluated(config):
    """The config with metrics every four steps, and the checkpoint kept that is best by one."""
    config.evaluate.metrics = "frechet,prdc"
    config.evaluate.every = 4
    config.checkpoint.best_metric = METRIC
    config.checkpoint.keep_latest = 3
    return config


def _measured(workdir):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line[METRIC] for line in lines if METRIC in line}


def test_a_run_measures_itself_and_goes_on_as_if_it_had_not(
    tmp_path, evaluated, network, whole_run, capsys
):
    """In two halves: the second goes on from the checkpoint of the first."""
    evaluated.train.steps = 8
    loop.train(evaluated, tmp_path)
    evaluated.train.steps = 12
    loop.train(evaluated, tmp_path)

    # The steps of a run that measured nothing.
    state, expected = (restore_item(run, "latest", "state")[1] for run in (tmp_path, whole_run))
    for one, other in zip(jax.tree.leaves(state), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(one, other)

    found = _measured(tmp_path)
    assert list(found) == [4, 8, 12]
    assert len(set(found.values())) == 3
    assert best_step(tmp_path) == min(found, key=found.get)

    # The subcommand measures the same checkpoints, images and captions; so do its defaults.
    capsys.readouterr()
    out = tmp_path / "lines.jsonl"
    for step in (8, 12):
        flags = [f"--step={step}", "--split=validation", f"--out={out}", "--resamples=0"]
        assert main(["evaluate", f"--workdir={tmp_path}", *flags]) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    values = {line["step"]: line[METRIC] for line in lines if METRIC in line}
    assert values == pytest.approx({step: found[step] for step in (8, 12)}, rel=1e-5)
    assert {line["asked"] for line in lines} == {"frechet,prdc"}

    # A finished run is measured on test once, at its best checkpoint.
    (tmp_path / "config.json").write_text(record.to_json(evaluated))
    command = ["train", f"--workdir={tmp_path}"]
    assert main(command) == 0
    assert "not measured on test: the data set has no split 'test'" in capsys.readouterr().err
    evaluated.data.test_split = "train[:20]"
    (tmp_path / "config.json").write_text(record.to_json(evaluated))
    for _ in range(2):
        assert main(command) == 0
    lines = [json.loads(line) for line in (tmp_path / "evaluation.jsonl").read_text().splitlines()]
    assert [line["metric"] for line in lines].count("frechet_lite0") == 1
    assert {(line["step"], line["split"]) for line in lines} == {
        (best_step(tmp_path), "train[:20]")
    }


def test_real_images_are_read_once_and_numbers_come_again(evaluated, network):
    experiment = open_experiment(evaluated)
    evaluation, state = Evaluation(experiment), experiment.initial_state()
    first = evaluation(1, state)
    real = network.shown["total"] - 13  # fakes
    assert evaluation(2, state) == first
    assert network.shown["total"] == real + 2 * 13
    assert first.keys() == {
        f"validation/{name}_lite0"
        for name in ("frechet", "precision", "recall", "density", "coverage")
    }
    assert Evaluation(experiment)(1, state) == first


def test_no_metrics_no_evaluation(tmp_path, config, compilation_cache, monkeypatch):
    """As in configs of older versions, which have no such group."""
    monkeypatch.setattr(feature_network, "load", None)
    config.train.steps = 1
    with config.unlocked():
        del config.unlock().evaluate
    loop.train(config, tmp_path)
    assert list_steps(tmp_path) == [1]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (
            "evaluate.metrics",
            "frechet,fid",
            "no metric is called 'fid'",
        ),
        ("evaluate.metrics", "fid30k", "give --num=30000"),
        ("evaluate.metrics", "frechet,r_precision", "needs a matcher"),
        ("evaluate.matcher", "none.npz", r"none\.npz: no such file"),
        ("evaluate.features", "vgg", "no feature network is called 'vgg'"),
        ("evaluate.every", -1, r"config\.evaluate\.every=-1: must be 0 or more"),
        ("evaluate.num", -1, r"config\.evaluate\.num=-1"),
        ("data.validation_split", "", r"set config\.data\.validation_split"),
    ],
)
def test_a_mistake_is_told_before_the_first_step(
    tmp_path, evaluated, network, compilation_cache, field, value, message
):
    group, name = field.split(".")
    evaluated[group][name] = value
    evaluated.checkpoint.best_metric = ""
    with pytest.raises(UserError, match=message) as caught:
        loop.train(evaluated, tmp_path)
    assert "\n" not in str(caught.value)
    lines = tmp_path / "metrics.jsonl"
    assert not lines.exists() or not lines.read_text()
    shutil.rmtree(tmp_path)
