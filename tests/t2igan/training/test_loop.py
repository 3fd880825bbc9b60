"""What a run leaves behind, and how each mistake and each mishap ends it."""

import json
import resource

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from input_pipeline.errors import UserError
from input_pipeline.stream.train import eval_batches
from t2igan import images
from t2igan.config.aliases import upgrade
from t2igan.losses import adversarial as losses
from t2igan.runtime.rng import example_noise, named_key
from t2igan.sampling.grid import grid_shape
from t2igan.training import loop
from t2igan.training import progress as step_reports
from t2igan.training.experiment import Experiment, open_experiment
from t2igan.training.hooks.validation import Validation, join_single_rest, split_rows
from t2igan.workdir import checkpoints
from t2igan.workdir import folder as run_folder
from t2igan.workdir.checkpoint_dir import list_steps, step_folder
from t2igan.workdir.checkpoints import restore_item


def _lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def test_a_run_folder_reads_with_ls_and_head(whole_run, config):
    assert {path.name for path in whole_run.iterdir()} - {"tensorboard"} == {
        "checkpoints",
        "config.json",
        "metrics.jsonl",
        "starts.jsonl",
        "samples",
    }
    assert json.loads((whole_run / "config.json").read_text()) == upgrade(config.to_dict())
    assert list_steps(whole_run) == [4, 8, 12]

    lines = _lines(whole_run)
    training = [line for line in lines if "loss/d" in line]
    assert [line["step"] for line in training] == list(range(1, 13))
    wanted = {"loss/d", "loss/g", "loss/kl", "logits/real", "logits/mismatched", "logits/fake"}
    wanted |= {"grad_norm/g", "grad_norm/d"}
    assert all(wanted <= line.keys() for line in training)
    assert {"images_per_sec", "seconds/step", "seconds/input_wait"} <= training[-1].keys()
    validation = [line for line in lines if "validation/loss/d" in line]
    assert [line["step"] for line in validation] == [6, 12]
    assert {"validation/loss/g", "validation/loss/kl"} <= validation[0].keys()

    for step in (6, 12):
        with Image.open(whole_run / "samples" / f"step_{step:08d}.png") as picture:
            # Two captions; the real image and two noises.
            assert picture.size == grid_shape(2, 3, 8)


def test_a_head_start_ends_when_it_should(config, tmp_path):
    config.recipe = "caption_contrast"
    config.loss.update(contrastive_weight=1.0, extra_negatives=8, d_warmup_steps=2)
    config.train.update(steps=4, checkpoint_every=4)
    loop.train(config, tmp_path)
    lines = [line for line in _lines(tmp_path) if "loss/d" in line]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert ["loss/g" in line for line in lines] == [False, False, True, True]


def test_a_checkpoint_says_all_that_sampling_needs(whole_run, dataset_path, config):
    _, meta = restore_item(whole_run, "latest", "meta")
    assert meta["recipe"] == "stackgan"
    assert meta["config"] == upgrade(config.to_dict())
    assert meta["vocabulary"] == json.loads((dataset_path / "vocabulary.json").read_text())["words"]
    assert (meta["image_size"], meta["caption_length"]) == (8, 5)
    _, generator = restore_item(whole_run, "best", "generator")
    assert set(generator) == {"params", "batch_stats", "frozen"}


@pytest.fixture(scope="session")
def trained(whole_run, dataset_path):
    """The whole run's experiment and its last state, over all devices."""
    experiment = open_experiment(run_folder.read_config(whole_run))
    with checkpoints.Checkpoints(whole_run) as saved:
        _, items = saved.restore_latest({"state": experiment.state_shapes()})
    return experiment, items["state"]


def test_validation_is_the_mean_over_the_whole_split(whole_run, trained):
    """Against the networks applied to all 13 images at once."""
    experiment, state = trained
    (batch,) = eval_batches(
        experiment.dataset, "validation", batch_size=99, captions="drawn", seed=0
    )
    text, index = {"codes": batch["codes"]}, jnp.arange(13)
    key = named_key(jax.random.key(0), "validation")
    noise = example_noise(key, index, experiment.recipe.noise_dims)
    variables = jax.device_get(state.sampling_variables)
    judge = jax.device_get(state.d_variables)
    fake = experiment.recipe.generator.apply(variables, text, noise, train=False)
    logits = experiment.recipe.discriminator.apply(judge, fake["image"], text, train=False)
    real = images.to_unit_range(batch["image"])
    real_logits = experiment.recipe.discriminator.apply(judge, real, text, train=False)
    kl = losses.kl_to_standard_normal(fake["mu"], fake["log_sigma"])
    expected = {
        "validation/loss/kl": kl,
        "validation/loss/g": np.mean(np.logaddexp(0, -logits)) + 2.0 * kl,
        "validation/logits/fake": np.mean(logits),
        "validation/logits/real": np.mean(real_logits),
    }
    line = _lines(whole_run)[-1]
    for name, value in expected.items():
        assert line[name] == pytest.approx(float(value), rel=1e-5), name


def test_validation_does_not_change_what_it_looks_at(trained):
    experiment, state = trained
    before = jax.device_get(state)
    validation = Validation(experiment)
    assert validation(state) == validation(state)
    for one, other in zip(jax.tree.leaves(before), jax.tree.leaves(state), strict=True):
        np.testing.assert_array_equal(one, np.asarray(other))


@pytest.mark.parametrize(("num_images", "num_devices"), [(13, 4), (17, 1), (9, 4), (3, 2), (33, 4)])
def test_every_validation_image_counts_once_and_never_alone(num_images, num_devices):
    rows = np.arange(num_images)
    batches = ({"index": rows[start : start + 8]} for start in range(0, num_images, 8))
    parts = [part for batch in join_single_rest(batches) for part in split_rows(batch, num_devices)]
    assert all(len(part["index"]) > 1 for part in parts)
    assert all(len(part["index"]) % num_devices == 0 for part in parts[:-1])
    np.testing.assert_array_equal(np.concatenate([part["index"] for part in parts]), rows)


def _poisoned(monkeypatch, step, poison):
    """Makes the train step return `poison(state, metrics)` at a step."""
    make = Experiment.train_step

    def make_poisoned(self):
        train_step = make(self)

        def call(state, batch):
            before = int(state.step)
            state, metrics = train_step(state, batch)
            return poison(state, metrics) if before + 1 == step else (state, metrics)

        return call

    monkeypatch.setattr(Experiment, "train_step", make_poisoned)


def _nan_loss(state, metrics):
    return state, metrics | {"loss/d": jnp.nan}


def _infinite_parameter(state, metrics):
    broken = jax.tree.map(lambda x: x.at[...].set(jnp.inf), state.g_params["Conv_0"])
    return state.replace(g_params={**state.g_params, "Conv_0": broken}), metrics


@pytest.mark.parametrize(
    ("poison", "named"), [(_nan_loss, "step 7: loss/d"), (_infinite_parameter, "step 8: ")]
)
def test_a_loss_that_is_no_number_stops_the_run_and_is_never_saved(
    tmp_path, config, monkeypatch, compilation_cache, poison, named
):
    with monkeypatch.context() as patch:
        _poisoned(patch, 7, poison)
        with pytest.raises(UserError, match=named):
            loop.train(config, tmp_path)
    assert list_steps(tmp_path) == [4]
    _, state = restore_item(tmp_path, "latest", "state")
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))
    json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1], parse_constant=int)


def test_a_full_disk_ends_in_one_line_and_the_run_goes_on_after(
    tmp_path, config, monkeypatch, whole_run, runs
):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    save = checkpoints.Checkpoints.save

    def save_on_a_full_disk(self, step, *rest):
        if step == 8:
            self.wait()  # for step 4, whose files are measured
            files = (path for path in step_folder(tmp_path, 4).rglob("*") if path.is_file())
            largest = max(path.stat().st_size for path in files)
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest // 4, hard))
        save(self, step, *rest)

    try:
        with monkeypatch.context() as patch:
            patch.setattr(checkpoints.Checkpoints, "save", save_on_a_full_disk)
            with pytest.raises(UserError, match="step 8 could not be written: the disk is full"):
                loop.train(config, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list_steps(tmp_path) == [4]
    assert loop.train(config, tmp_path) == loop.Outcome(12, 12)
    runs.assert_same(whole_run, tmp_path)


def test_another_config_in_the_folder_is_refused(whole_run, config):
    config.optimizer.g_learning_rate = 5e-4
    config.seed = 7
    with pytest.raises(UserError, match=r"g_learning_rate is 0.001 there, 0.0005.*seed is 0"):
        loop.train(config, whole_run)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("validation/loss/gg", "did you mean 'validation/loss/g'?"),
        ("quality", "it has grad_norm/d, "),
        ("validation/loss/g", ""),
    ],
)
def test_a_best_metric_that_no_step_has_is_said_once(tmp_path, config, capsys, name, said):
    config.checkpoint.best_metric = name
    config.health.every = 2
    config.train.update(steps=4, checkpoint_every=2, validate_every=2, sample_every=2)
    loop.train(config, tmp_path)
    told = capsys.readouterr().err
    assert told.count("is no metric of this run") == bool(said)
    assert said in told


def test_a_decaying_learning_rate_binds_the_length(tmp_path, config, compilation_cache):
    config.optimizer.schedule = "linear"
    config.data.validation_split = ""
    config.train.steps = 4
    loop.train(config, tmp_path)
    config.train.steps = 8
    with pytest.raises(UserError, match=r"train\.steps is 4 there, 8 here"):
        loop.train(config, tmp_path)


def test_other_data_under_the_same_run_is_refused(tmp_path, whole_run, config, make_dataset):
    config.data.dir = str(make_dataset(tmp_path / "other", seed=1))
    before = (whole_run / "config.json").read_bytes()
    with pytest.raises(UserError, match="fingerprint"):
        loop.train(config, whole_run)
    assert (whole_run / "config.json").read_bytes() == before


def test_a_folder_is_trained_by_one_process_at_a_time(tmp_path, config):
    with (
        run_folder.claimed(tmp_path, config),
        pytest.raises(UserError, match="being trained by another process"),
        run_folder.claimed(tmp_path, config),
    ):
        pass
    with run_folder.claimed(tmp_path, config):
        pass


def test_a_config_that_could_not_start_does_not_bind_the_folder(tmp_path, config):
    run_folder.keep_config(tmp_path, config)
    config.data.validation_split = "valid"
    run_folder.check_resumes(tmp_path, config)  # no checkpoint: nothing to be lost
    with pytest.raises(UserError, match="has no split 'valid'; it has train, validation"):
        loop.train(config, tmp_path)


@pytest.mark.parametrize(
    ("group", "field", "value", "message"),
    [
        ("train", "batch_size", 6, "cannot be divided over 4 devices: 4 or 8 can"),
        ("train", "batch_size", 0, "must be 1 or more"),
        ("train", "batch_size", 64, "50 images"),
        ("train", "log_every", 0, "log_every=0: must be 1"),
        ("train", "steps", -1, "must be 0 or more"),
        ("train", "mapper", "vmap", "shard_map, pmap"),
        ("data", "dir", "", "config.data.dir"),
        ("data", "dir", "/nowhere", "no data set at /nowhere"),
        ("data", "train_split", "training", "has no split 'training'"),
        ("ema", "decay", 1.5, "ema.decay=1.5"),
        ("checkpoint", "keep_latest", 0, "keep_latest=0"),
        ("optimizer", "schedule", "zigzag", "zigzag"),
        ("sample", "num_captions", 0, "num_captions=0"),
    ],
)
def test_a_mistake_in_a_field_is_one_line(tmp_path, config, group, field, value, message):
    config[group][field] = value
    with pytest.raises(UserError, match=message) as caught:
        loop.train(config, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_workdir_that_is_a_file_is_refused(tmp_path, config):
    (tmp_path / "run").write_text("")
    with pytest.raises(UserError, match="is a file"):
        loop.train(config, tmp_path / "run")


def test_a_damaged_config_json_is_one_line(tmp_path, config):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json is damaged"):
        loop.train(config, tmp_path)


def test_steps_are_reported_two_behind():
    """A step's numbers are asked for only after the next two have been dispatched."""
    asked = []

    class Metric:
        def __init__(self, step):
            self.step = step

        def __array__(self, dtype=None, copy=None):
            asked.append(self.step)
            return np.float32(self.step)

    class Writer:
        def __init__(self):
            self.lines = []

        def scalars(self, step, values):
            self.lines.append((step, values["loss/d"]))

    writer = Writer()
    with step_reports.StepReports(writer, 8, 2, 0, 5) as reports:
        for step in range(1, 6):
            reports.add(step, {"loss/d": Metric(step)})
            assert asked == list(range(1, step - 1))
        with reports.paused():
            assert asked == [1, 2, 3, 4, 5]
    assert writer.lines == [(1, 1.0), (2, 2.0), (4, 4.0), (5, 5.0)]
