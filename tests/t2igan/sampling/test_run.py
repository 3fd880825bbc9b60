"""A run as an object: what an image depends on, what is read of a checkpoint, what is refused."""

import contextlib
import shutil

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import t2igan
from input_pipeline.errors import UserError
from t2igan.images import to_uint8
from t2igan.runtime.rng import example_noise
from t2igan.sampling import interpolation
from t2igan.sampling import run as sampling
from t2igan.workdir.checkpoint_dir import step_folder

CAPTIONS = ["a small red star", "the large blue circle on the left", "red"]


@pytest.fixture(scope="module")
def run(untrained_run):
    return t2igan.load(untrained_run)


@pytest.fixture(scope="module")
def pictures(run):
    return run.sample(CAPTIONS, num=7, seed=3)


def test_images_are_the_generators_own(run, pictures):
    """Column j by noise j, in range, against the network called by hand."""
    assert pictures.shape == (3, 7, 16, 16, 3)
    assert pictures.dtype == np.uint8
    noise = example_noise(jax.random.key(3), np.array([4]), run.recipe.noise_dims)
    text = {"codes": run.encode(CAPTIONS[1:2])}
    image = run.recipe.generator.apply(run.variables, text, noise, train=False)["image"]
    difference = np.asarray(to_uint8(image))[0].astype(int) - pictures[1, 4]
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("row", range(3))
@pytest.mark.parametrize("num", [1, 7, 20])
def test_an_image_is_the_same_bit_for_bit_whatever_is_drawn_with_it(run, pictures, row, num):
    alone = run.sample([CAPTIONS[row]], num=num, seed=3)[0]
    np.testing.assert_array_equal(alone[:7], pictures[row, :num])


def test_other_seeds_columns_captions_and_truncations_give_other_images(run, pictures):
    assert not np.array_equal(run.sample(CAPTIONS[:1], seed=4)[0, 0], pictures[0, 0])
    assert not np.array_equal(pictures[0, 0], pictures[0, 1])
    assert not np.array_equal(pictures[0, 0], pictures[1, 0])
    assert not np.array_equal(
        run.sample(CAPTIONS[:1], seed=3, truncation=0.5)[0, 0], pictures[0, 0]
    )


def test_without_noise_a_caption_has_one_image(run):
    row = run.sample(CAPTIONS[:1], num=3, truncation=0.0)[0]
    assert (row == row[0]).all()


def test_one_device_draws_the_same_to_rounding(run, pictures, monkeypatch):
    monkeypatch.setattr(jax, "local_devices", lambda: jax.devices()[:1])
    found = t2igan.load(run.workdir).sample(CAPTIONS, num=7, seed=3)
    assert np.abs(found.astype(int) - pictures).max() <= 1


def test_a_walk_between_captions_ends_at_their_images(run, pictures):
    walk = run.interpolate_captions(CAPTIONS[0], CAPTIONS[1], 5, num=2, seed=3)
    assert walk.shape == (2, 5, 16, 16, 3)
    np.testing.assert_array_equal(walk[:, 0], pictures[0, :2])
    np.testing.assert_array_equal(walk[:, -1], pictures[1, :2])
    assert len(np.unique(walk[0].reshape(5, -1), axis=0)) == 5


def test_a_walk_between_noises_ends_at_their_images(run, pictures):
    walk = run.interpolate_noise(CAPTIONS, 4, seed=3, columns=(2, 5))
    assert walk.shape == (3, 4, 16, 16, 3)
    np.testing.assert_array_equal(walk[:, 0], pictures[:, 2])
    np.testing.assert_array_equal(walk[:, -1], pictures[:, 5])


def test_noises_on_the_way_are_as_long_as_their_ends():
    start, end = np.random.default_rng(0).normal(size=(2, 100))
    end *= np.linalg.norm(start) / np.linalg.norm(end)
    way = interpolation.between_noises(start, end, 7)
    np.testing.assert_allclose(np.linalg.norm(way, axis=1), np.linalg.norm(start), rtol=1e-6)
    cosines = (way[:-1] * way[1:]).sum(1) / np.linalg.norm(start) ** 2
    np.testing.assert_allclose(cosines, cosines[0], rtol=1e-5)  # even steps


@pytest.mark.parametrize("factor", [1.0, -1.0, 2.0])
def test_noises_along_one_line_have_a_way_too(factor):
    start = np.arange(1.0, 4.0)
    way = interpolation.between_noises(start, factor * start, 3)
    np.testing.assert_allclose(way, np.linspace(start, factor * start, 3), rtol=1e-6)


def test_unknown_words_come_with_near_ones(run):
    assert run.unknown_words(["a smal red star", "smal qqq"]) == {"smal": ["small"], "qqq": []}


def test_words_past_the_captions_length_are_told(run):
    long = "a a a a a a red star"  # 8 codes: 6 words
    assert run.cut_captions([long, "a star"]) == {long: ["red", "star"]}


@pytest.mark.parametrize("captions", ["a red star", []])
def test_captions_that_are_no_list_of_texts(run, captions):
    with pytest.raises(UserError, match="give a list of texts"):
        run.sample(captions)


def test_no_images_asked_for(run):
    with pytest.raises(UserError, match="num=0"):
        run.sample(CAPTIONS, num=0)


def test_best_latest_and_numbered_steps(untrained_run):
    assert t2igan.load(untrained_run).step == 20
    assert t2igan.load(untrained_run, "best").step == 20  # the lowest of the fixture's metrics
    assert t2igan.load(untrained_run, 10).step == 10
    with pytest.raises(UserError, match="no checkpoint of step 15; it has 10, 20"):
        t2igan.load(untrained_run, 15)


def test_only_what_sampling_needs_is_read(untrained_run, tmp_path, pictures):
    """On another machine: no data set, no training state, another place."""
    moved = tmp_path / "moved"
    for step in (10, 20):
        for item in ("generator", "meta"):
            source = step_folder(untrained_run, step) / item
            shutil.copytree(source, step_folder(moved, step) / item)
        for file in step_folder(untrained_run, step).iterdir():
            if file.is_file():
                shutil.copy(file, step_folder(moved, step))
    np.testing.assert_array_equal(t2igan.load(moved).sample(CAPTIONS, num=7, seed=3), pictures)


def test_a_damaged_generator_falls_back_to_the_step_before(untrained_run, tmp_path, capsys):
    broken = tmp_path / "broken"
    shutil.copytree(untrained_run, broken)
    path = max(step_folder(broken, 20).glob("generator/d/*"), key=lambda p: p.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert t2igan.load(broken).step == 10
    assert "step 20 is not whole" in capsys.readouterr().err


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(UserError, match="no checkpoint yet"):
        t2igan.load(tmp_path)
    with pytest.raises(UserError, match="not a run's folder"):
        t2igan.load(tmp_path / "absent")


VALUES = st.recursive(
    st.none() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    changes=st.dictionaries(
        st.sampled_from(["config", "vocabulary", "image_size", "caption_length", "stage1"]),
        VALUES,
        min_size=1,
    )
)
def test_whatever_a_checkpoint_says_of_itself_it_is_a_run_or_a_clear_line(
    untrained_run, monkeypatch, changes
):
    found = sampling.restore_item

    def changed(workdir, step, item):
        step, value = found(workdir, step, item)
        return step, value | changes if item == "meta" else value

    with monkeypatch.context() as patch:
        patch.setattr(sampling, "restore_item", changed)
        with contextlib.suppress(UserError):
            t2igan.load(untrained_run)


def test_a_run_of_another_version_names_the_field(untrained_run, monkeypatch):
    found = sampling.restore_item

    def older(workdir, step, item):
        step, value = found(workdir, step, item)
        if item == "meta":
            del value["config"]["model"]["z_dim"]
        return step, value

    monkeypatch.setattr(sampling, "restore_item", older)
    with pytest.raises(UserError, match="the config has no field 'z_dim'"):
        t2igan.load(untrained_run)
