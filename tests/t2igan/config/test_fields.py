"""Numbers that no run can be made of are refused by name before anything is opened."""

import math

import pytest
from ml_collections import ConfigDict

from configs import coco_stage1, common, flickr8k, quickstart, stage2, tiny
from input_pipeline.errors import UserError
from t2igan.config import fields as config_ranges


@pytest.mark.parametrize("module", [common, coco_stage1, flickr8k, quickstart, stage2, tiny])
def test_shipped_configs_pass(module):
    config_ranges.check(module.get_config())


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("model.gf_dim", 0, "must be 1 or more"),
        ("model.df_dim", -3, "must be 1 or more"),
        ("model.z_dim", 0, "must be 1 or more"),
        ("optimizer.g_learning_rate", -1.0, "must be 0 or more"),
        ("optimizer.g_learning_rate", math.nan, "must be a finite number"),
        ("optimizer.g_beta1", 1.0, "must be from 0 to below 1"),
        ("ema.decay", 1.0, "must be from 0 to below 1"),
        ("loss.kl_weight", math.inf, "must be a finite number"),
        ("loss.real_target", 7.0, "must be from 0 to 1"),
        ("loss.penalty_interval", 0, "must be 1 or more"),
        ("train.compute_dtype", "f8", "must be float32 or bfloat16"),
        ("seed", -1, "must be from 0 to 4294967295"),
        ("seed", 2**32, "must be from 0 to 4294967295"),
        ("train.batch_size", "many", "must be a number"),
    ],
)
def test_a_senseless_value_is_named(name, value, told):
    group = common.get_config().to_dict()
    *groups, field = name.split(".")
    inner = group
    for key in groups:
        inner = inner[key]
    inner[field] = value
    with pytest.raises(UserError) as caught:
        config_ranges.check(ConfigDict(group))
    assert f"config.{name}={value}: {told}" in str(caught.value)


def test_a_field_that_is_not_there_is_not_missed():
    config = common.get_config()
    with config.unlocked():
        del config.loss.r2_weight
    config_ranges.check(config)
