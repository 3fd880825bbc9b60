"""Each way to collapse is seen and said, and a healthy network is not blamed."""

import jax
import numpy as np
import pytest

from configs import tiny
from input_pipeline.errors import UserError
from t2igan.training.experiment import open_experiment
from t2igan.training.hooks.collapse import HEALTHY, Unhealthy, Watch
from t2igan.training.hooks.health import Health, mean_distance, measures


@pytest.fixture(scope="module")
def experiment(dataset_path):
    config = tiny.get_config()
    config.data.dir = str(dataset_path)
    config.model.gf_dim = config.model.df_dim = 2
    config.train.batch_size = 8
    return open_experiment(config)


@pytest.fixture(scope="module")
def health(experiment):
    return Health(experiment)


@pytest.fixture(scope="module")
def state(experiment):
    """A generator that listens to both: the weights of its text are raised."""
    state = experiment.initial_state()
    (name,) = state.g_params["conditioning"]
    louder = jax.tree.map(lambda x: 20.0 * x, state.g_params["conditioning"][name])
    return state.replace(g_params={**state.g_params, "conditioning": {name: louder}})


def _deaf_to_noise(state):
    """z has no weight, and c is its mean."""
    dense, conditioning = (state.g_params[name] for name in ("Dense_0", "conditioning"))
    (name,) = conditioning
    width = conditioning[name]["bias"].shape[0] // 2
    silent = {
        "kernel": conditioning[name]["kernel"].at[:, width:].set(0.0),
        "bias": conditioning[name]["bias"].at[width:].set(-1000.0),
    }
    new = {
        "Dense_0": {"kernel": dense["kernel"].at[width:].set(0.0)},
        "conditioning": {name: silent},
    }
    return state.replace(g_params={**state.g_params, **new})


def _deaf_to_text(state):
    """c has no weight."""
    kernel = state.g_params["Dense_0"]["kernel"]
    z_dim = tiny.get_config().model.z_dim
    new = {"Dense_0": {"kernel": kernel.at[:-z_dim].set(0.0)}}
    return state.replace(g_params={**state.g_params, **new})


def _checked(health, states, config):
    watch = Watch()
    for time, state in enumerate(states, 1):
        found = watch.check(100 * time, health(state), config)
    return watch, found


def test_a_healthy_network_is_not_blamed(health, state, experiment, capsys):
    watch, found = _checked(health, [state] * 3, experiment.config)
    assert found[HEALTHY] == 1
    assert watch.in_a_row == {}
    assert capsys.readouterr().err == ""
    assert found["health/diversity"] > 0.05
    assert 0.05 < found["health/text_share"] < 0.95


@pytest.mark.parametrize(
    ("breaks", "metric", "field"),
    [
        (_deaf_to_noise, "health/diversity", "min_diversity"),
        (_deaf_to_text, "health/text_share", "min_text_share"),
    ],
)
def test_a_network_deaf_to_its_input_is_reported(
    health, state, experiment, capsys, breaks, metric, field
):
    watch, found = _checked(health, [state, *3 * [breaks(state)]], experiment.config)
    assert found[metric] == pytest.approx(0.0, abs=1e-6)
    assert found[HEALTHY] == 0
    assert watch.in_a_row == {metric: 3}
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"step 400: {metric} is ")
    assert f"below config.health.{field}=" in line
    assert "in 3 checks in a row" in line
    assert "; try " in line


def test_text_that_is_ignored_leaves_the_logits_no_gap(health, state):
    """Over all captions, own or other, the same images are judged with the same texts."""
    gap = health(_deaf_to_text(state))["health/logit_gap/text"]
    assert gap == pytest.approx(0.0, abs=1e-6)
    assert abs(health(state)["health/logit_gap/text"]) > 1e-6


def test_measures_against_numpy():
    rng = np.random.default_rng(0)
    image = rng.normal(size=(5, 3, 4, 4, 3)).astype(np.float32)
    real, fake, other = rng.normal(size=5), rng.normal(size=(5, 3)), rng.normal(size=(5, 3))
    found = measures(2.0, image=image, real_logits=real, fake_logits=fake, other_logits=other)
    distances = [
        np.linalg.norm(image[c, i] - image[c, j]) / np.sqrt(48)
        for c in range(5)
        for i in range(3)
        for j in range(i)
    ]
    assert found["health/diversity"] == pytest.approx(np.mean(distances) / 2.0, rel=1e-6)
    ahead = [real[c] - fake[c, k] for c in range(5) for k in range(3)]
    assert found["health/told_apart"] == sum(gap > 0 for gap in ahead) / 15
    assert found["health/logit_gap/real"] == pytest.approx(np.mean(ahead))
    assert found["health/logit_gap/text"] == pytest.approx(np.mean(fake) - np.mean(other))
    assert mean_distance(np.array([[[1.0, 1.0], [-1.0, -1.0]]])) == 2.0


def test_what_is_no_number_is_bad_and_no_warning():
    logits = np.full((2, 2), np.inf)
    image = np.full((2, 2, 4, 4, 3), np.nan, np.float32)
    found = measures(
        1.0, image=image, real_logits=logits[0], fake_logits=logits, other_logits=logits
    )
    watch = Watch()
    assert watch.check(9999, found, tiny.get_config())[HEALTHY] == 0
    assert watch.in_a_row.keys() == {
        "health/diversity",
        "health/text_share",
        "health/logit_gap/real",
    }


def _values(**changed):
    values = {"diversity": 0.5, "text": 0.5, "gap": 2.0} | changed
    names = {"diversity": "diversity", "text": "text_share", "gap": "logit_gap/real"}
    return {f"health/{names[name]}": value for name, value in values.items()}


def test_a_symptom_is_said_once_until_it_recovers(capsys):
    config, watch = tiny.get_config(), Watch()
    config.health.patience = 2
    said = []
    for step, gap in enumerate([90.0, 2.0, 90.0, 90.0, 90.0, np.nan, 2.0, np.inf, np.inf]):
        watch.check(step, _values(gap=gap), config)
        said.append(len(capsys.readouterr().err.splitlines()))
    assert said == [0, 0, 0, 1, 0, 0, 0, 0, 1]


def test_what_was_never_there_is_missed_after_a_while(capsys):
    config = tiny.get_config()
    config.health.patience = 1
    config.health.grace = 200
    for past, missed_at in ((0.0, 300), (0.5, 200)):
        watch = Watch()
        watch.check(100, _values(text=past), config)
        for step in (200, 300):
            found = watch.check(step, _values(text=0.0), config)
            assert found[HEALTHY] == float(step < missed_at)
            assert bool(capsys.readouterr().err) == (step == missed_at)


def test_a_threshold_of_0_is_off(capsys):
    config, watch = tiny.get_config(), Watch()
    config.health.patience = 1
    config.health.min_diversity = 0.0
    assert watch.check(1, _values(diversity=0.0), config)[HEALTHY] == 1
    assert watch.check(2, _values(diversity=0.0, gap=16.0), config)[HEALTHY] == 0
    assert "health/logit_gap/real is 16, above config.health.max_logit_gap=12" in (
        capsys.readouterr().err
    )


def test_rollbacks_are_asked_for_until_they_are_used_up(capsys):
    config, watch = tiny.get_config(), Watch()
    config.health.patience = 1
    config.rollback.times = 2
    for used in (0, 1):
        assert watch.rollbacks == used
        with pytest.raises(Unhealthy, match="step 7: health/diversity is 0, below"):
            watch.check(7, _values(diversity=0.0), config)
        watch = watch.rolled_back(Watch(), 0.5)
        assert watch.scale == 0.5 ** (used + 1)
    watch.check(7, _values(diversity=0.0), config)
    assert "all config.rollback.times=2 rollbacks are used" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("group", "field", "value", "message"),
    [
        ("health", "every", -1, r"health\.every=-1: must be 0 or more"),
        ("health", "patience", 0, r"health\.patience=0: must be 1 or more"),
        ("rollback", "times", -1, r"rollback\.times=-1: must be 0 or more"),
        ("rollback", "factor", 0.0, r"rollback\.factor=0\.0: must be above 0"),
        ("rollback", "factor", 1.5, r"rollback\.factor=1\.5: must be above 0"),
        ("rollback", "times", 1, r"checkpoint_every=10 must be a multiple of config\.health"),
    ],
)
def test_a_mistake_in_a_field_is_one_line(experiment, group, field, value, message):
    config = experiment.config.copy_and_resolve_references()
    config[group][field] = value
    with pytest.raises(UserError, match=message) as caught:
        open_experiment(config)
    assert "\n" not in str(caught.value)
