"""Every shipped experiment loads, changes only known fields, and is a lab note."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from t2igan.config import override as configs

FOLDER = Path(__file__).resolve().parents[2] / "configs"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in ("__init__", "common"))


def _load(name: str) -> dict[str, object]:
    return configs.fields(configs.load([f"--config=configs/{name}.py"]))


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


def test_common_explains_every_field_once() -> None:
    text = (FOLDER / "common.py").read_text()
    lines = text.splitlines()
    explained = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
            target = node.targets[0]
            assert isinstance(target.value, ast.Name)
            if not isinstance(node.value, ast.Call):  # `config.data = _data()` is a group
                here, above = lines[node.lineno - 1], lines[node.lineno - 2].strip()
                assert "  # " in here or above.startswith("# "), f"{target.attr}: no explanation"
                prefix = "" if target.value.id == "config" else target.value.id + "."
                explained.append(prefix + target.attr)
    assert sorted(explained) == sorted(_load("common"))


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


def test_photographs_is_the_best_rung_of_the_ladder() -> None:
    from configs import ladder

    rung = ladder.get_config("sentences")
    rung.update_from_flattened_dict(ladder.all_changes("shown how much pictures differ"))
    same, found = configs.fields(rung), _load("photographs")
    differ = {name for name in same if same[name] != found[name]}
    looks = {"checkpoint.keep_latest", "train.sample_every", "train.validate_every"}
    assert differ == looks | {"data.flip"}
