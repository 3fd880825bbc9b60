"""A run that goes wrong returns to its last healthy checkpoint, and a kill changes nothing."""

import contextlib
import io
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t2igan.runtime import sharding
from t2igan.runtime.device import put
from t2igan.training import loop
from t2igan.training.experiment import Experiment, open_experiment
from t2igan.training.hooks.collapse import Unhealthy
from t2igan.training.hooks.health import Health
from t2igan.training.progress import StepReports
from t2igan.training.state import ScaledState
from t2igan.workdir.checkpoint_dir import list_steps
from t2igan.workdir.checkpoints import restore_item


class Killed(BaseException):
    """The process has ended, as far as the run is concerned."""


@pytest.fixture(autouse=True)
def _watched(config, compilation_cache):
    config.data.validation_split = ""
    config.health.every = 2
    config.health.min_text_share = 0.0
    config.rollback.times = 2


@pytest.fixture
def doomed(monkeypatch):
    """After step 5 the noise changes nothing, until the learning rates are a fourth."""
    call = Health.__call__

    def measured(self, state):
        ignored = int(state.step) > 5 and float(state.learning_rate_scale) > 0.3
        return call(self, state) | ({"health/diversity": 0.0} if ignored else {})

    monkeypatch.setattr(Health, "__call__", measured)


@contextlib.contextmanager
def _ending(ends):
    """At the n-th time of a step, for (step, n) the key, what is there is called."""
    with pytest.MonkeyPatch.context() as patch:
        add, times = StepReports.add, {}

        def add_and_end(self, step, metrics):
            add(self, step, metrics)
            times[step] = times.get(step, 0) + 1
            ends.get((step, times[step]), lambda: None)()

        patch.setattr(StepReports, "add", add_and_end)
        yield


def _train(config, workdir):
    return loop.train(config, workdir, num_devices=1)


def _kill():
    raise Killed


def _terminate():
    os.kill(os.getpid(), signal.SIGTERM)


def test_goes_back_twice_and_ends_the_same_however_it_is_ended(
    tmp_path, config, doomed, runs, capsys
):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert _train(config, whole) == loop.Outcome(12, 12)
    said = [line for line in capsys.readouterr().err.splitlines() if "rollback" in line]
    assert len(said) == 2
    for count, (line, scale) in enumerate(zip(said, ("0.5", "0.25"), strict=True), 1):
        assert "step 10: health/diversity is 0, below config.health.min_diversity=0.02" in line
        assert f"rollback {count} of 2: back to step 4, with {scale} times the learning" in line

    lines = runs.metrics_of(whole)
    assert [line["step"] for line in lines if "loss/d" in line] == list(range(1, 13))
    assert [line for line in lines if "rollback/count" in line] == [
        {"step": 5, "rollback/count": 2, "rollback/learning_rate_scale": 0.25}
    ]
    assert [line["step"] for line in lines if line.get("health/healthy") == 1] == [
        2,
        4,
        6,
        8,
        10,
        12,
    ]
    assert list_steps(whole) == [4, 8, 12]
    watch = restore_item(whole, 12, "meta")[1]["watch"]
    assert (watch["rollbacks"], watch["scale"], watch["in_a_row"]) == (2, 0.25, {})
    assert (whole / "checkpoints" / "unhealthy_step_00000008").is_dir()

    with _ending({(5, 2): _kill}), pytest.raises(Killed):  # back once, with no checkpoint since
        _train(config, broken)
    assert list_steps(broken) == [4]
    with _ending({(9, 2): _terminate}):  # back once, after two more bad checks
        assert _train(config, broken) == loop.Outcome(9, 12, signal.SIGTERM)
    assert list_steps(broken) == [4, 8, 9]
    assert _train(config, broken) == loop.Outcome(12, 12)
    runs.assert_same(whole, broken)


def test_a_number_that_is_none_sends_it_back_until_that_is_used_up(
    tmp_path, config, runs, monkeypatch
):
    make = Experiment.train_step

    def make_poisoned(self):
        train_step = make(self)

        def call(state, batch):
            bad = int(state.step) == 6
            state, metrics = train_step(state, batch)
            return state, metrics | ({"loss/d": jnp.nan} if bad else {})

        return call

    monkeypatch.setattr(Experiment, "train_step", make_poisoned)
    said = io.StringIO()
    with (
        contextlib.redirect_stderr(said),
        pytest.raises(Unhealthy, match="step 7: loss/d is nan: "),
    ):
        _train(config, tmp_path)
    told = [line for line in said.getvalue().splitlines() if "rollback" in line]
    assert [line.partition("; ")[0].rpartition("step")[2] for line in told] == [
        " 7: loss/d is nan"
    ] * 2
    assert list_steps(tmp_path) == [4]
    lines = runs.metrics_of(tmp_path)
    assert [line["step"] for line in lines if "loss/d" in line] == [1, 2, 3, 4, 5, 6, 7]
    assert {"step": 5, "rollback/count": 2, "rollback/learning_rate_scale": 0.25} in lines


def test_without_a_healthy_checkpoint_it_starts_again_and_then_goes_on_with_a_warning(
    tmp_path, config, runs, capsys
):
    config.health.min_text_share = 2.0
    config.health.grace = 0
    config.rollback.times = 1
    config.train.steps = 8
    assert _train(config, tmp_path) == loop.Outcome(8, 8)
    said = [line for line in capsys.readouterr().err.splitlines() if "text_share" in line]
    assert len(said) == 2
    assert "rollback 1 of 1: back to step 0, with 0.5 times" in said[0]
    assert "all config.rollback.times=1 rollbacks are used" in said[1]
    lines = runs.metrics_of(tmp_path)
    assert lines[0] == {"step": 1, "rollback/count": 1, "rollback/learning_rate_scale": 0.5}
    assert [line["step"] for line in lines if "loss/d" in line] == list(range(1, 9))
    assert list_steps(tmp_path) == [4, 8]


def test_the_scale_is_that_of_both_learning_rates(config):
    """Adam's updates are proportional to its rate; a changed scale compiles nothing anew."""
    batch = {
        "image": np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3), np.uint8),
        "codes": np.random.default_rng(1).integers(0, 20, (8, 5)).astype(np.int32),
    }

    experiment = open_experiment(config, num_devices=1)
    before, train_step = jax.device_get(experiment.initial_state()), experiment.train_step()
    batch = put(batch, experiment.mesh)

    def moved(scale):
        scaled = ScaledState(**vars(before), learning_rate_scale=scale)
        assert jax.tree.structure(scaled.saved) == jax.tree.structure(before)  # on disk the same
        start = sharding.replicate(scaled, experiment.mesh)
        after = jax.device_get(train_step(start, batch)[0])
        pairs = ((each.g_params, each.d_params) for each in (after, before))
        return jax.tree.leaves(jax.tree.map(lambda new, old: new.astype(float) - old, *pairs))

    for whole, part in zip(moved(np.float32(1.0)), moved(np.float32(0.25)), strict=True):
        assert np.abs(whole).max() > 1e-5
        np.testing.assert_allclose(part, 0.25 * whole, atol=1e-7)
    assert train_step._cache_size() == 1
