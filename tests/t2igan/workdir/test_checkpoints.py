"""A checkpoint comes back bit for bit, or is refused: never half, never altered."""

import json
import os
import resource
import shutil
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from input_pipeline.errors import UserError
from t2igan.workdir import manifest
from t2igan.workdir.checkpoint_dir import HEALTHY, list_steps, step_folder
from t2igan.workdir.checkpoints import Checkpoints, restore_item


def _sharding(num_devices):
    mesh = jax.make_mesh(
        (num_devices,),
        ("data",),
        axis_types=(jax.sharding.AxisType.Auto,),
        devices=jax.devices()[:num_devices],
    )
    return NamedSharding(mesh, P())


def _state(seed, num_devices=4):
    random = np.random.default_rng(seed)
    tree = {
        "params": {"dense": {"kernel": random.normal(size=(7, 5)).astype(np.float32)}},
        "opt": (np.int32(seed), [random.normal(size=(3,)).astype(np.float32)]),
        "ema": None,
        "stats": {},
    }
    return jax.device_put(tree, _sharding(num_devices))


def _items(seed):
    state = _state(seed)
    return {
        "state": state,
        "generator": {"params": state["params"]},
        "data": {"step": seed},
        "meta": {"vocabulary": ["<null>", "é", "dog"]},
    }


def _targets(num_devices=4):
    sharding = _sharding(num_devices)
    shapes = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), _state(0)
    )
    return {"state": shapes, "data": None, "meta": None}


def _save(workdir, steps, **options):
    with Checkpoints(workdir, **options) as checkpoints:
        for step in steps:
            checkpoints.save(step, _items(step))


def _assert_same(tree, expected):
    assert jax.tree.structure(tree) == jax.tree.structure(expected)
    for got, want in zip(jax.tree.leaves(tree), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(np.asarray(got), np.asarray(want))


def test_nothing_to_restore_in_a_new_run(tmp_path):
    assert Checkpoints(tmp_path).restore_latest(_targets()) is None


@pytest.mark.parametrize("num_devices", [1, 2, 4])
def test_comes_back_on_any_number_of_devices(tmp_path, num_devices):
    _save(tmp_path, [3])
    step, items = Checkpoints(tmp_path).restore_latest(_targets(num_devices))
    assert step == 3
    _assert_same(items["state"], _state(3))
    assert items["state"]["params"]["dense"]["kernel"].sharding == _sharding(num_devices)
    assert items["data"] == {"step": 3}
    assert items["meta"] == {"vocabulary": ["<null>", "é", "dog"]}


def test_sampling_reads_the_generator_alone(tmp_path):
    _save(tmp_path, [3])
    for item in ("state", "data"):
        shutil.rmtree(step_folder(tmp_path, 3) / item)
    step, generator = restore_item(tmp_path, "latest", "generator")
    assert step == 3
    _assert_same(generator, {"params": jax.device_get(_state(3)["params"])})
    assert isinstance(generator["params"]["dense"]["kernel"], np.ndarray)
    assert restore_item(tmp_path, 3, "meta")[1] == {"vocabulary": ["<null>", "é", "dog"]}


def test_an_item_is_found_under_a_relative_path(tmp_path, monkeypatch):
    _save(tmp_path / "run", [3])
    monkeypatch.chdir(tmp_path)
    step, generator = restore_item("run", "latest", "generator")
    assert step == 3
    _assert_same(generator, {"params": jax.device_get(_state(3)["params"])})


@pytest.mark.parametrize(("mode", "best"), [("min", 2), ("max", 4)])
def test_keeps_the_latest_and_the_best(tmp_path, mode, best):
    scores = {1: 3.0, 2: 1.0, 3: float("nan"), 4: 9.0, 5: 2.0, 6: 5.0, 7: None}
    options = {"keep_latest": 2, "keep_best": 1, "best_metric": "score", "best_mode": mode}
    for part in ([1, 2, 3, 4], [5, 6, 7]):  # the second process learns of the first one's best
        with Checkpoints(tmp_path, **options) as checkpoints:
            for step in part:
                metrics = {} if scores[step] is None else {"score": scores[step]}
                checkpoints.save(step, _items(step), metrics)
    assert list_steps(tmp_path) == [best, 6, 7]
    assert restore_item(tmp_path, "best", "data") == (best, {"step": best})


def _save_checked(workdir, healthy, **options):
    """Saves steps that were found healthy, or not, or were not checked."""
    with Checkpoints(workdir, **options) as checkpoints:
        for step, found in healthy.items():
            metrics = {} if found is None else {HEALTHY: float(found)}
            checkpoints.save(step, _items(step), metrics)


def test_keeps_the_last_healthy_one(tmp_path):
    healthy = {1: True, 2: True, 3: False, 4: False, 5: None, 6: False}
    _save_checked(tmp_path, healthy, keep_latest=2)
    assert list_steps(tmp_path) == [2, 5, 6]
    _save_checked(tmp_path, {7: True, 8: False, 9: False, 10: False}, keep_latest=2)
    assert list_steps(tmp_path) == [7, 9, 10]


def test_returns_to_the_last_healthy_one_and_goes_on(tmp_path):
    _save_checked(tmp_path, {1: True, 2: True, 3: False, 4: None})
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(5, _items(5), {HEALTHY: 0.0})  # still under way
        assert checkpoints.return_to_healthy("NaN", or_start=True) == 2
        assert checkpoints.restore_latest(_targets())[0] == 2
        checkpoints.save(3, _items(30), {HEALTHY: 0.0})
        assert checkpoints.return_to_healthy("NaN", or_start=False) == 2
    assert list_steps(tmp_path) == [2]  # the first has gone as one too many
    aside = {path.name: path for path in (tmp_path / "checkpoints").glob("unhealthy_*")}
    assert sorted(aside) == [f"unhealthy_step_0000000{step}" for step in (3, 4, 5)]


def test_nothing_healthy_is_the_start_or_an_error(tmp_path):
    _save_checked(tmp_path, {1: False, 2: None})
    with pytest.raises(UserError, match=r"NaN; none of the checkpoints in .* was found healthy"):
        Checkpoints(tmp_path).return_to_healthy("NaN", or_start=False)
    assert list_steps(tmp_path) == [1, 2]
    assert Checkpoints(tmp_path).return_to_healthy("NaN", or_start=True) == 0
    assert Checkpoints(tmp_path).restore_latest(_targets()) is None


def test_a_save_is_of_its_step_though_training_goes_on(tmp_path):
    """The step donates its input while the save is still being written."""
    step = jax.jit(lambda x: x + 1.0, donate_argnums=0)
    x = jax.device_put(jnp.zeros((1 << 20,)), _sharding(4))
    with Checkpoints(tmp_path, keep_latest=9) as checkpoints:
        for number in range(1, 4):
            x = step(x)
            checkpoints.save(number, _items(0) | {"state": {"x": x}})
            for _ in range(20):
                x = step(x)
    for number in range(1, 4):
        _, tree = restore_item(tmp_path, number, "state")
        np.testing.assert_array_equal(tree["x"], 21.0 * (number - 1) + 1.0)


def test_any_flipped_byte_is_found_or_harmless(tmp_path, capsys):
    """Every file of the newest step in turn: the one before is used, or the bits are the same."""
    whole = tmp_path / "whole"
    _save(whole, [1, 2])
    files = sorted(path for path in step_folder(whole, 2).rglob("*") if path.is_file())
    assert len(files) > 10
    fallen_back = 0
    for number, path in enumerate(files):
        run = tmp_path / str(number)
        shutil.copytree(whole, run)
        damaged = run / path.relative_to(whole)
        content = bytearray(damaged.read_bytes())
        content[len(content) // 2] ^= 0x10
        damaged.write_bytes(content)
        step, items = Checkpoints(run).restore_latest(_targets())
        _assert_same(items["state"], _state(step))
        if step == 1:
            fallen_back += 1
            assert "step 2 is not whole" in capsys.readouterr().err
            assert list_steps(run) == [1]
            assert step_folder(run, 2).with_name("damaged_step_00000002").is_dir()
    assert fallen_back >= len(files) - 2  # orbax's own two notes about a step are not read


@pytest.mark.parametrize("name", ["MANIFEST.json", "state/manifest.ocdbt", "state", "metrics"])
def test_half_deleted_steps_are_passed_over(tmp_path, name):
    """What a kill leaves while orbax deletes a step, with the metric orbax reads at its start."""
    with Checkpoints(tmp_path, best_metric="score") as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, _items(step), {"score": 1.0})
    for step in (1, 2):
        path = step_folder(tmp_path, step) / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        if step == 1:
            with Checkpoints(tmp_path, best_metric="score") as checkpoints:
                checkpoints.save(3, _items(3), {"score": 2.0})
    assert Checkpoints(tmp_path).restore_latest(_targets())[0] == 3


def test_an_unfinished_step_is_as_if_it_never_was(tmp_path):
    _save(tmp_path, [1, 2])
    folder = step_folder(tmp_path, 2)
    folder.rename(folder.with_name(folder.name + ".orbax-checkpoint-tmp"))
    assert Checkpoints(tmp_path).restore_latest(_targets())[0] == 1
    _save(tmp_path, [2])
    assert list_steps(tmp_path) == [1, 2]


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"step": "x"}', '{"files": {"a": 1}}', "\0"])
def test_a_damaged_manifest_is_a_clear_line(tmp_path, damage):
    _save(tmp_path, [1])
    (step_folder(tmp_path, 1) / "MANIFEST.json").write_text(damage)
    with pytest.raises(UserError, match="none of its 1 checkpoints is whole"):
        Checkpoints(tmp_path).restore_latest(_targets())
    assert list_steps(tmp_path) == [1]  # nothing is moved where nothing can be used
    with pytest.raises(UserError, match="MANIFEST"):
        restore_item(tmp_path, "latest", "generator")


def test_another_model_is_a_clear_line(tmp_path):
    _save(tmp_path, [1])
    targets = _targets()
    kernel = jax.ShapeDtypeStruct((7, 6), jnp.float32, sharding=_sharding(1))
    targets["state"]["params"]["dense"]["kernel"] = kernel
    with pytest.raises(UserError, match="does not fit this model"):
        Checkpoints(tmp_path).restore_latest(targets)


def test_questions_about_steps_that_are_not_there(tmp_path):
    with pytest.raises(UserError, match="no checkpoint yet"):
        restore_item(tmp_path, "latest", "generator")
    _save(tmp_path, [1, 2], best_metric="validation/loss/g")
    with pytest.raises(UserError, match="has no checkpoint of step 7; it has 1, 2"):
        restore_item(tmp_path, 7, "generator")
    with pytest.raises(UserError, match="no checkpoint has validation/loss/g"):
        restore_item(tmp_path, "best", "generator")


@pytest.mark.parametrize("options", [{"keep_latest": 0}, {"keep_best": -1}, {"best_mode": "low"}])
def test_senseless_options_are_refused(tmp_path, options):
    with pytest.raises(UserError, match="best_mode="):
        Checkpoints(tmp_path, **options)


@pytest.fixture
def full_disk():
    """No file may grow beyond 100 kB: writing fails as on a disk with no room left."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path, full_disk, capfd):
    _save(tmp_path, [1, 2])
    big = jnp.asarray(np.random.default_rng(0).normal(size=100_000))
    with pytest.raises(UserError) as caught, Checkpoints(tmp_path, keep_latest=1) as checkpoints:
        checkpoints.save(3, _items(3) | {"state": {"x": big}})
    assert "the checkpoint of step 3 could not be written: the disk is full" in str(caught.value)
    assert "that of step 2 is kept" in str(caught.value)
    assert "Traceback" not in capfd.readouterr().err
    assert list_steps(tmp_path) == [1, 2]
    assert Checkpoints(tmp_path).restore_latest(_targets())[0] == 2
    _save(tmp_path, [3])
    assert Checkpoints(tmp_path).restore_latest(_targets())[0] == 3


def test_the_manifest_names_every_file_and_the_metrics(tmp_path):
    with Checkpoints(tmp_path, best_metric="score") as checkpoints:
        checkpoints.save(1, _items(1), {"score": 0.5, "other": 2.0, "bad": float("inf")})
    folder = step_folder(tmp_path, 1)
    manifest = json.loads((folder / "MANIFEST.json").read_text())
    assert manifest["metrics"] == {"score": 0.5, "other": 2.0}
    assert manifest["best"] == ["score", "min"]
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert present - set(manifest["files"]) == {
        "MANIFEST.json",
        "_CHECKPOINT_METADATA",
        "commit_success.txt",
    }


def test_the_name_of_a_steps_folder_is_not_believed(tmp_path):
    _save(tmp_path, [10, 20])
    step_folder(tmp_path, 10).rename(tmp_path / "aside")
    shutil.copytree(step_folder(tmp_path, 20), step_folder(tmp_path, 99999))
    step_folder(tmp_path, 20).rename(step_folder(tmp_path, 10))
    (tmp_path / "aside").rename(step_folder(tmp_path, 20))
    with pytest.raises(UserError, match="none of its 3 checkpoints is whole"):
        restore_item(tmp_path, "latest", "generator")
    with pytest.raises(UserError, match="it is the checkpoint of step 20"):
        restore_item(tmp_path, 10, "generator")


def test_a_manifest_of_no_files_is_not_whole(tmp_path):
    _save(tmp_path, [10, 20])
    path = step_folder(tmp_path, 20) / "MANIFEST.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"files": {}}))
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.restore_latest(_targets())[0] == 10
    assert (tmp_path / "checkpoints" / "damaged_step_00000020").is_dir()


def test_a_damaged_meta_makes_sampling_fall_back(tmp_path, capsys):
    _save(tmp_path, [10, 20])
    for path in (step_folder(tmp_path, 20) / "meta").iterdir():
        if path.is_file():
            path.write_bytes(b"x" + path.read_bytes()[1:])
    assert restore_item(tmp_path, "latest", "generator")[0] == 10
    assert "step 20 is not whole" in capsys.readouterr().err


def test_a_pipe_in_place_of_a_manifest_is_not_waited_for(tmp_path):
    _save(tmp_path, [10, 20])
    path = step_folder(tmp_path, 20) / "MANIFEST.json"
    path.unlink()
    os.mkfifo(path)
    assert restore_item(tmp_path, "latest", "generator")[0] == 10


def test_sealed_files_that_orbax_cannot_read_are_one_line(tmp_path):
    _save(tmp_path, [10])
    folder = step_folder(tmp_path, 10)
    metadata = folder / "generator" / "_METADATA"
    metadata.write_bytes(b"[" * 100_000)
    (folder / "MANIFEST.json").unlink()
    manifest.write(folder, 10, {}, ("", "min"))
    with pytest.raises(UserError, match=r"generator cannot be read \(.*other steps: 10"):
        restore_item(tmp_path, 10, "generator")


def test_without_a_metric_the_latest_is_the_best(tmp_path):
    _save(tmp_path, [10, 20])
    assert restore_item(tmp_path, "best", "generator")[0] == 20


def test_a_clock_that_jumps_in_a_save_does_not_end_it(tmp_path, monkeypatch):
    now, calls = time.time, [0]

    def jumping():
        calls[0] += 1
        return now() + 1e8 * calls[0]  # three years at each look

    monkeypatch.setattr(time, "time", jumping)
    _save(tmp_path, [10, 20])
    assert calls[0]
    assert restore_item(tmp_path, "latest", "generator")[0] == 20
