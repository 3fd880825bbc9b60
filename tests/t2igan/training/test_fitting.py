"""A step in parts, another run's networks, a full device, and what a run says of itself."""

from __future__ import annotations

import subprocess
import sys

import jax
import numpy as np
import pytest

from input_pipeline.errors import UserError
from t2igan.config import record
from t2igan.training.experiment import open_experiment
from t2igan.training.failures import explained
from t2igan.workdir.checkpoints import restore_item


def _one_step(config):
    """The state after a step on one device, and its metrics."""
    experiment = open_experiment(config, 1)
    state = experiment.initial_state()
    step = experiment.train_step()
    with experiment.stream() as stream:
        batch = {name: jax.numpy.asarray(rows) for name, rows in next(stream).items()}
    return jax.device_get(step(state, batch))


def _memory(config):
    """Bytes that a step on one device asks for beside the state."""
    experiment = open_experiment(config, 1)
    with experiment.stream() as stream:
        batch = {name: jax.numpy.asarray(rows) for name, rows in next(stream).items()}
    program = experiment.train_step().lower(experiment.state_shapes(), batch).compile()
    return program.memory_analysis().temp_size_in_bytes


@pytest.fixture
def unnormalized(config):
    """A recipe without batch norm: r3gan's networks have none."""
    config.recipe = "r3gan"
    config.model.mbstd_group_size = 0
    config.train.batch_size = 8
    config.optimizer.eps = 1e-2  # Adam else amplifies the rounding of gradients near zero
    return config


def test_a_step_in_parts_is_the_whole_step(unnormalized):
    whole, metrics = _one_step(unnormalized)
    unnormalized.train.accumulate_steps = 4
    parts, part_metrics = _one_step(unnormalized)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), whole, parts)
    for name, value in metrics.items():
        np.testing.assert_allclose(value, part_metrics[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_a_step_in_parts_needs_less_memory(config):
    config.train.batch_size = 48
    whole = _memory(config)
    config.train.accumulate_steps = 4
    assert _memory(config) < 0.6 * whole


@pytest.mark.parametrize("recipe", ["stackgan", "dfgan"])
def test_activations_computed_again_change_nothing(config, recipe):
    config.recipe = recipe
    config.train.batch_size = 8
    config.optimizer.eps = 1e-2
    config.loss.r1_weight = 1.0  # a gradient of a gradient
    plain, metrics = _one_step(config)
    config.train.remat = True
    again, again_metrics = _one_step(config)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), plain, again)
    for name, value in metrics.items():
        np.testing.assert_allclose(value, again_metrics[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_the_backward_pass_computes_activations_again(config):
    config.train.batch_size = 8
    barriers = []  # between the first computation and the second
    for remat in (False, True):
        config.train.remat = remat
        experiment = open_experiment(config, 1)
        with experiment.stream() as stream:
            batch = {name: jax.numpy.asarray(rows) for name, rows in next(stream).items()}
        text = experiment.train_step().lower(experiment.state_shapes(), batch).as_text()
        barriers.append(text.count("optimization_barrier"))
    assert barriers[0] < barriers[1]


@pytest.mark.parametrize(
    ("batch", "parts", "weight", "told"),
    [(8, 3, 0.0, "accumulate_steps=3 does not divide the 8 images"), (8, 8, 1.0, "pairs")],
)
def test_parts_that_are_not_equal_are_refused(config, batch, parts, weight, told):
    config.train.batch_size, config.train.accumulate_steps = batch, parts
    config.loss.diversity_weight = weight
    with pytest.raises(UserError, match=told):
        open_experiment(config, 1)


def test_a_run_begins_with_another_runs_networks(whole_run, config, tmp_path, capsys):
    config.init_from = str(whole_run)
    config.train.steps = 100
    state = open_experiment(config, 1).initial_state()
    _, saved = restore_item(whole_run, "latest", "state")
    for part in ("g_params", "d_params", "ema"):
        jax.tree.map(np.testing.assert_array_equal, getattr(state, part), saved[part])
    assert int(state.step) == 0
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(state.g_opt))
    assert "arrays of step 12" in capsys.readouterr().err


def test_what_does_not_fit_is_listed_and_new(whole_run, config, capsys):
    config.init_from = str(whole_run)
    config.model.df_dim = 8  # another discriminator
    state = open_experiment(config, 1).initial_state()
    _, saved = restore_item(whole_run, "latest", "state")
    jax.tree.map(np.testing.assert_array_equal, state.g_params, saved["g_params"])
    assert "not there: d_params/" in capsys.readouterr().err
    config.init_from = str(whole_run.parent / "absent")
    with pytest.raises(UserError, match="not a run's folder"):
        open_experiment(config, 1).initial_state()


def test_a_full_device_is_one_line_with_ways_out(config):
    full = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.\nx")
    told = r"batch_size=.*accumulate_steps=2.*--dry_run"
    with pytest.raises(UserError, match=told), explained(config):
        raise full
    with pytest.raises(jax.errors.JaxRuntimeError), explained(config):
        raise jax.errors.JaxRuntimeError("INTERNAL: a bug")


def test_a_run_says_what_it_is_and_where_its_time_went(config, tmp_path):
    """In a process of its own: a profiler of JAX's that libtpu has joined crashes in this one."""
    config.train.steps = 8
    config.profile = 2
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text(record.to_json(config))
    command = [sys.executable, "-P", "-m", "t2igan", "train", f"--workdir={run}", "--devices=1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    for part in ("1 x cpu", "50 images of 8 pixels", "stackgan: generator", "8 steps of"):
        assert part in done.stderr
    assert "profile of 2 steps" in done.stderr
    assert list((run / "profile").rglob("*.xplane.pb"))
    (times,) = [line for line in done.stderr.splitlines() if line.startswith("time: training")]
    shares = [int(part.split(" %")[0].split()[-1]) for part in times.split(",")]
    assert 95 <= sum(shares) <= 105
