"""What the fields of a config may be, checked before anything is opened."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from input_pipeline.errors import UserError
from t2igan.config import override as configs

if TYPE_CHECKING:
    from ml_collections import ConfigDict

_LEAST = {
    "ema.ramp_steps": 0,
    "evaluate.every": 0,
    "evaluate.num": 0,
    "health.every": 0,
    "health.grace": 0,
    "health.patience": 1,
    "loss.contrastive_captions": 0,
    "loss.contrastive_weight": 0,
    "loss.downscaling_weight": 0,
    "loss.enlarging_weight": 0,
    "loss.head_start_steps": 0,
    "loss.kl_weight": 0,
    "loss.matching_gp_weight": 0,
    "loss.penalty_every": 1,
    "loss.r1_weight": 0,
    "loss.r2_weight": 0,
    "loss.wrong_weight": 0,
    "model.cond_dim": 1,
    "model.df_dim": 1,
    "model.gf_dim": 1,
    "model.spread_group": 0,
    "model.text_compressor_dim": 1,
    "model.text_dim": 1,
    "model.z_dim": 1,
    "optimizer.clip_norm": 0,
    "optimizer.d_learning_rate": 0,
    "optimizer.eps": 0,
    "optimizer.g_learning_rate": 0,
    "optimizer.warmup_steps": 0,
    "rollback.times": 0,
    "sample.num_captions": 1,
    "sample.num_noises": 1,
    "train.batch_size": 1,
    "train.checkpoint_every": 1,
    "train.epochs": 0,
    "train.log_every": 1,
    "train.sample_every": 0,
    "train.steps": 0,
    "train.validate_every": 0,
    "train.validation_batches": 0,
}
_BELOW_ONE = (
    "ema.decay",
    "optimizer.g_beta1",
    "optimizer.d_beta1",
    "optimizer.beta2",
)  # decays a step, from 0
_SHARES = ("loss.generator_target", "loss.real_target", "optimizer.decay_start")  # from 0 to 1
_ONE_OF = {"train.compute_dtype": ("float32", "bfloat16")}
_MOST_SEEDS = 2**32  # what a key of JAX's random numbers is made from


def check(config: ConfigDict) -> None:
    """Refuses numbers that no run can be made of; other values are for whoever uses them.

    Args:
      config: see configs/common.py; a field that it lacks is not missed here.

    Raises:
      UserError: names the field, its value, and what is allowed.
    """
    for name, value in configs.fields(config).items():
        allowed = _allowed(name, value)
        if allowed:
            raise UserError(f"config.{name}={value}: must be {allowed}")
    if not config.train.steps and not config.train.epochs:
        raise UserError("config.train.steps and config.train.epochs are both 0: nothing to train")
    _check_rollback(config)


def _check_rollback(config: ConfigDict) -> None:
    if not 0 < config.rollback.factor <= 1:
        raise UserError(
            f"config.rollback.factor={config.rollback.factor}: must be above 0, up to 1"
        )
    every, saved = config.health.every, config.train.checkpoint_every
    if config.rollback.times and (not every or saved % every):
        raise UserError(
            f"config.rollback.times={config.rollback.times} needs checkpoints that were checked: "
            f"config.train.checkpoint_every={saved} must be a multiple of "
            f"config.health.every={every}, and that above 0"
        )


def _allowed(name: str, value: Any) -> str:
    """What the field may be, where it is something else; an empty text where it is right."""
    numbers = name in _LEAST or name in _BELOW_ONE or name in _SHARES or name == "seed"
    if numbers and not isinstance(value, int | float):
        return "a number"  # a config.json may hold anything
    if isinstance(value, float) and not math.isfinite(value):
        return "a finite number"
    if name in _LEAST and value < _LEAST[name]:
        return f"{_LEAST[name]} or more"
    if name in _BELOW_ONE and not 0 <= value < 1:
        return "from 0 to below 1"
    if name in _SHARES and not 0 <= value <= 1:
        return "from 0 to 1"
    if name in _ONE_OF and value not in _ONE_OF[name]:
        return " or ".join(_ONE_OF[name])
    if name == "seed" and not 0 <= value < _MOST_SEEDS:
        return f"from 0 to {_MOST_SEEDS - 1}"
    return ""
