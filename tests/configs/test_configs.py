"""Every shipped experiment loads, changes only known fields, and is a lab note."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from configs import common
from t2igan.config import override, record

FOLDER = Path(__file__).resolve().parents[2] / "configs"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in ("__init__", "common"))


def _load(name: str) -> dict[str, object]:
    return record.fields(override.load([f"--config=configs/{name}.py"]))


@pytest.mark.parametrize("name", NAMES)
def test_experiment_changes_known_fields_to_values_of_their_type(name: str) -> None:
    common, loaded = _load("common"), _load(name)
    assert loaded.keys() >= common.keys()
    for field, value in common.items():
        assert type(loaded[field]) is type(value), field


@pytest.mark.parametrize("name", NAMES)
def test_experiment_is_a_lab_note(name: str) -> None:
    docstring = ast.get_docstring(ast.parse((FOLDER / f"{name}.py").read_text()))
    assert docstring is not None
    assert f"t2igan train --config=configs/{name}.py" in docstring


def test_common_explains_every_field_in_one_line() -> None:
    assert sorted(common.FIELDS) == sorted(_load("common"))
    for name, field in common.FIELDS.items():
        assert field.meaning, name
        assert "\n" not in field.meaning, name


@pytest.mark.parametrize("name", [name for name, field in common.FIELDS.items() if field.former])
def test_a_former_name_is_the_same_field(name: str) -> None:
    config, former = common.get_config(), common.FIELDS[name].former
    group, old, new = (
        config[name.partition(".")[0]],
        *(n.rpartition(".")[2] for n in (former, name)),
    )
    group[old] = group[new] + 1
    assert group[new] == group[old] == common.FIELDS[name].default + 1


def test_a_misspelled_field_is_an_error() -> None:
    config = common.get_config()
    with pytest.raises(AttributeError, match="batch_size"):
        config.train.bach_size = 4


def test_coco_stage1_is_the_reports_table() -> None:
    loaded = _load("coco_stage1")
    expected = {
        "recipe": "stackgan",
        "model.gf_dim": 128,
        "model.df_dim": 64,
        "model.cond_dim": 128,
        "model.z_dim": 100,
        "model.text_compressor_dim": 128,
        "loss.kl_weight": 2.0,
        "loss.real_target": 0.9,
        "optimizer.g_learning_rate": 1e-3,
        "optimizer.d_learning_rate": 1e-3,
        "optimizer.g_beta1": 0.5,
        "optimizer.d_beta1": 0.5,
        "optimizer.beta2": 0.999,
        "ema.decay": 0.0,
        "train.batch_size": 128,
        "train.epochs": 1000,
        "train.steps": 0,
        "data.flip": False,
    }
    assert {field: loaded[field] for field in expected} == expected


def test_tiny_keeps_a_checkpoint_every_ten_of_sixty_steps() -> None:
    loaded = _load("tiny")
    assert (loaded["train.steps"], loaded["train.checkpoint_every"]) == (60, 10)


def test_photographs_is_the_best_setting_of_the_ablations() -> None:
    from configs import ablations

    best = ablations.get_config("sentences")
    best.update_from_flattened_dict(ablations.all_changes("minibatch standard deviation"))
    same, found = record.fields(record.locked(best.to_dict())), _load("photographs")
    differ = {name for name in same if same[name] != found[name]}
    looks = {"checkpoint.keep_latest", "train.sample_every", "train.validate_every"}
    assert differ == looks | {"data.flip"}
