"""Former names of recipes, fields and logged numbers are today's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from configs import common
from t2igan.config import aliases, compare, override, record
from t2igan.recipes import registry

OLD = {
    "recipe": "matching_hinge",
    "loss": {"wrong_weight": 1.0, "penalty_every": 4, "kl_weight": 2.0},
    "model": {"spread_group": 4},
    "checkpoint": {"best_metric": "validation/loss/downscaling"},
}


def test_an_old_config_is_read_under_todays_names() -> None:
    assert aliases.upgrade(OLD) == {
        "recipe": "dfgan",
        "loss": {"mismatch_weight": 1.0, "penalty_interval": 4, "kl_weight": 2.0},
        "model": {"mbstd_group_size": 4},
        "checkpoint": {"best_metric": "validation/loss/consistency"},
    }
    assert OLD["recipe"] == "matching_hinge"  # the given values stay


def test_todays_names_stay() -> None:
    values = record.locked(common.get_config().to_dict()).to_dict()
    assert aliases.upgrade(values) == values


def test_every_alias_leads_to_a_name_that_is() -> None:
    assert set(aliases.RECIPES.values()) <= set(registry.names())
    assert set(aliases.former_fields().values()) <= common.FIELDS.keys()
    assert not aliases.former_fields().keys() & common.FIELDS.keys()


@pytest.mark.parametrize("former", sorted(aliases.former_fields()))
def test_a_former_field_on_the_command_line_is_todays(former: str) -> None:
    today = aliases.former_fields()[former]
    config = override.load(["--config=configs/common.py", f"--config.{former}=7"])
    assert record.fields(config)[today] == 7


def test_a_run_kept_under_former_names_may_resume(tmp_path: Path) -> None:
    values = common.get_config().to_dict()
    for former, today in aliases.former_fields().items():
        group, _, leaf = today.partition(".")
        values[group][former.partition(".")[2]] = values[group].pop(leaf)
    (tmp_path / "config.json").write_text(json.dumps(values))
    old = record.read(tmp_path / "config.json")
    compare.check_resumes(old, override.load(["--config=configs/common.py"]), "RUN")


def test_a_logged_number_has_one_name() -> None:
    assert aliases.logged("validation/logits/wrong") == "validation/logits/mismatched"
    assert aliases.logged("loss/d") == "loss/d"
