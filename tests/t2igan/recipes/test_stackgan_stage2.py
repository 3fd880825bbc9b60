"""A second stage end to end: builds on a finished run, leaves it as it is, needs it only once."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

import t2igan
from input_pipeline.errors import UserError
from t2igan.cli.main import main
from t2igan.config import record
from t2igan.models import projected_discriminator as projected
from t2igan.recipes import registry
from t2igan.training import loop
from t2igan.training.experiment import open_experiment
from t2igan.workdir.checkpoints import restore_item

LARGE = 32  # the first stage draws 16x16


@pytest.fixture(scope="module")
def large_set(make_words, tmp_path_factory):
    """The captions and words of the first stage's data set, at twice the size."""
    return make_words.dataset(tmp_path_factory.mktemp("large") / "set", LARGE)


def second_config(make_words, large_set, stage1: Path):
    config = make_words.config(large_set)
    config.recipe = "stackgan2"
    config.stage1 = str(stage1)
    config.optimizer.eps = 1e-2  # Adam's first steps else amplify the rounding of small gradients
    config.train.steps = 4
    config.train.checkpoint_every = 2
    config.train.log_every = 1
    return config


@pytest.fixture(scope="module")
def config(make_words, large_set, untrained_run):
    return second_config(make_words, large_set, untrained_run)


@pytest.fixture(scope="module")
def finished(config, untrained_run, tmp_path_factory):
    """A finished second stage, on another machine: the first stage's folder is no longer there."""
    folder = tmp_path_factory.mktemp("second")
    config = ConfigDict(config.to_dict())
    config.stage1 = str(folder / "first")
    shutil.copytree(untrained_run, folder / "first")
    outcome = loop.train(config, folder / "run", num_devices=4)
    assert outcome == loop.Outcome(4, 4)
    shutil.rmtree(folder / "first")
    return folder / "run"


@pytest.fixture(scope="module")
def run(finished):
    return t2igan.load(finished)


def test_one_call_draws_the_large_image(run):
    assert run.recipe.noise_dims.keys() == {"z", "eps", "eps_32"}
    images = run.sample(["a red star", "the blue circle"], num=3, seed=1)
    assert images.shape == (2, 3, LARGE, LARGE, 3)
    again = run.sample(["the blue circle"], num=2, seed=1)
    np.testing.assert_array_equal(again[0], images[1, :2])


def test_the_small_image_within_is_the_first_stages_sample(run, untrained_run):
    """Same caption, same seed: what the first run draws is what the second enlarges."""
    from t2igan.images import to_uint8
    from t2igan.runtime.rng import example_noise

    noise = example_noise(jax.random.key(1), np.arange(2), run.recipe.noise_dims)
    text = {"codes": run.encode(["a red star"] * 2)}
    draw = jax.jit(lambda *given: run.recipe.generator.apply(*given, train=False)["small"])
    small = np.asarray(to_uint8(draw(run.variables, text, noise))).astype(int)
    expected = t2igan.load(untrained_run).sample(["a red star"], num=2, seed=1)[0]
    assert np.abs(small - expected).max() <= 1


def test_walks_lead_through_both_stages(run):
    plain = run.sample(["a red star", "the blue circle"], num=2, seed=1)
    walk = run.interpolate_captions("a red star", "the blue circle", 3, seed=1)
    np.testing.assert_array_equal(walk[0, [0, -1]], plain[:, 0])
    walk = run.interpolate_noise(["a red star"], 3, seed=1)
    np.testing.assert_array_equal(walk[0, [0, -1]], plain[0])


def test_the_subcommand_draws_it_too(finished, tmp_path):
    out = tmp_path / "folder"
    flags = [f"--workdir={finished}", "--caption=a red star", "--num=1", f"--out={out}"]
    assert main(["sample", *flags]) == 0
    assert (out / "00000_000.png").is_file()


def test_the_first_stage_is_as_it_was_and_the_second_is_not(finished, untrained_run):
    _, first = restore_item(untrained_run, "latest", "generator")
    for step in (2, 4):
        _, second = restore_item(finished, step, "generator")
        stored = second["frozen"]["stage1"]
        for name in ("params", "batch_stats"):
            jax.tree.map(np.testing.assert_array_equal, stored[name], first[name])
        jax.tree.map(
            np.testing.assert_array_equal, second["frozen"]["words"], first["frozen"]["words"]
        )
    _, begun = restore_item(finished, 2, "generator")
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), begun["params"], second["params"])
    assert all(value > 0 for value in jax.tree.leaves(moved))


def test_the_checkpoint_says_what_it_builds_on(run, finished):
    first = run.meta.stage1
    assert (first.step, first.image_size, first.config.recipe) == (20, 16, "stackgan")
    assert Path(first.workdir).name == "first"


def test_resumes_without_the_first_stages_folder(finished, tmp_path):
    """Killed after step 2, and the first stage gone: the end is that of the whole run."""
    copy = tmp_path / "run"
    shutil.copytree(finished, copy)
    shutil.rmtree(copy / "checkpoints/step_00000004")
    config = record.from_json((copy / "config.json").read_text())
    assert loop.train(config, copy, num_devices=4) == loop.Outcome(4, 4)
    for item in ("state", "generator"):
        _, found = restore_item(copy, 4, item)
        _, expected = restore_item(finished, 4, item)
        jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_one_device_gives_what_four_give(finished, config, tmp_path):
    assert loop.train(config, tmp_path, num_devices=1) == loop.Outcome(4, 4)
    (_, found), (_, expected) = (restore_item(path, 4, "state") for path in (tmp_path, finished))
    for name in ("g_params", "g_stats", "d_stats"):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4),
            found[name],
            expected[name],
        )


@pytest.fixture(scope="module")
def contrasting(make_words, large_set, untrained_run, tmp_path_factory):
    """A second stage with caption_contrast's losses and discriminator, two steps on."""
    folder = tmp_path_factory.mktemp("contrasting") / "run"
    config = second_config(make_words, large_set, untrained_run)
    config.recipe = "caption_contrast"
    config.loss.contrastive_weight = 1.0
    config.loss.extra_negatives = 4
    config.loss.consistency_weight = 2.0
    config.loss.reconstruction_weight = 5.0
    config.augment.policy = "color"  # what the discriminator sees is not what is compared
    config.train.steps = 2
    assert loop.train(config, folder, num_devices=2) == loop.Outcome(2, 2)
    assert loop.train(config, folder.with_name("one"), num_devices=1) == loop.Outcome(2, 2)
    return folder


def test_other_losses_can_enlarge(contrasting, untrained_run):
    """Two steps from the first stage's image on, the large one is still nearly that."""
    run = t2igan.load(contrasting)
    large = run.sample(["a red star"], num=2, seed=1)[0].astype(float)
    small = t2igan.load(untrained_run).sample(["a red star"], num=2, seed=1)[0].astype(float)
    shrunk = large.reshape(2, 16, 2, 16, 2, 3).mean((2, 4))
    assert np.corrcoef(shrunk.ravel(), small.ravel())[0, 1] > 0.9
    lines = (contrasting / "metrics.jsonl").read_text()
    assert "loss/contrastive_d" in lines
    assert "loss/kl" not in lines


def test_projected_makes_large_by_the_same_network(config):
    """Its own discriminator, and the generator and noise of caption_contrast's second stage."""
    stage1 = open_experiment(config).first_stage.recipe
    config = ConfigDict(config.to_dict())
    config.loss.consistency_weight = 3.0
    made = []
    for config.recipe in ("caption_contrast", "projected"):
        made.append(registry.build(config, LARGE, stage1))
    assert made[0].generator == made[1].generator
    assert made[0].noise_dims == made[1].noise_dims == stage1.noise_dims
    assert {recipe.consistency_weight for recipe in made} == {3.0}
    assert isinstance(made[1].discriminator, projected.Discriminator)


def test_the_downscaling_loss_is_of_the_images_as_drawn(contrasting):
    """Nearly the small image's at first; a brightness moved by -0.5 to 0.5 alone is 2 / 12."""
    lines = [json.loads(line) for line in (contrasting / "metrics.jsonl").read_text().splitlines()]
    first = next(line for line in lines if "loss/consistency" in line)
    assert first["step"] == 1
    assert 0.0 < first["loss/consistency"] < 0.02
    assert any("validation/loss/consistency" in line for line in lines)


def test_real_images_are_made_large_as_they_are(contrasting):
    """Each has one color: upsampled again it is itself, until the network has learned."""
    lines = [json.loads(line) for line in (contrasting / "metrics.jsonl").read_text().splitlines()]
    first, second = [line["loss/reconstruction"] for line in lines if "loss/reconstruction" in line]
    assert first < 1e-9
    assert second > 1e-9
    assert any("validation/loss/reconstruction" in line for line in lines)


def test_what_is_asked_of_a_second_stage_is_the_same_on_one_device(contrasting):
    def terms(folder):
        lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
        names = ("loss/consistency", "loss/reconstruction", "grad_norm/g")
        return [[line[name] for name in names] for line in lines if names[0] in line]

    two, one = terms(contrasting), terms(contrasting.with_name("one"))
    np.testing.assert_allclose(two, one, rtol=2e-3, atol=1e-9)


def test_other_words_are_refused(make_words, untrained_run, tmp_path):
    words = ("green", "square", "one", "two", "three")
    other = make_words.dataset(tmp_path / "set", LARGE, words)
    with pytest.raises(UserError, match="trained with another vocabulary than"):
        open_experiment(second_config(make_words, other, untrained_run))


def test_other_word_vectors_are_refused(make_words, untrained_run, large_set, monkeypatch):
    config = second_config(make_words, large_set, untrained_run)
    from t2igan.training import experiment

    dataset = experiment.open_dataset(large_set)
    changed = dataset.__class__(**{**vars(dataset), "word_vectors": dataset.word_vectors + 1})
    monkeypatch.setattr(experiment, "open_dataset", lambda _: changed)
    with pytest.raises(UserError, match="another table of word vectors"):
        open_experiment(config)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"stage1": ""}, "give its finished run, --config.stage1=RUN"),
        ({"stage1": "absent"}, "config.stage1=absent is not a run's folder"),
        ({"stage1": "."}, "has no checkpoint yet"),
        ({"recipe": "stackgan"}, "builds on no other run: leave config.stage1 empty"),
    ],
)
def test_what_does_not_fit_together(config, changes, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = ConfigDict(config.to_dict())
    config.update(changes)
    with pytest.raises(UserError, match=told):
        open_experiment(config)


def test_sizes_that_do_not_fit(make_words, word_dataset, untrained_run):
    """The first stage's own data set: nothing to enlarge to."""
    config = second_config(make_words, word_dataset, untrained_run)
    with pytest.raises(UserError, match="image_size 16: must be 32 or 64"):
        open_experiment(config)
