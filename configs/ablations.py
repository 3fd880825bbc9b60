"""Ablations from the StackGAN baseline upwards, one change at a time, at equal images seen.

    python scripts/tables/ablations.py --name=shapes --dataset=data/shapes \
        --matcher=data/shapes_matcher.npz
    t2igan train --config=configs/ablations.py --workdir=runs/baseline \
        --config.data.dir=data/shapes                               # the first setting alone

Narrow networks and 32,000 images a run: minutes of a CPU core. `scripts/tables/ablations.py`
trains every setting by `t2igan sweep`, measures it and writes docs/ablations.md.
"""

from ml_collections import ConfigDict

from configs import common


def _setting(name: str, on: str, changes: dict, reads_sentences: bool = False) -> dict:
    return {"name": name, "on": on, "changes": changes, "reads_sentences": reads_sentences}


_RESIDUAL = {"model.gf_dim": 8, "model.df_dim": 8, "optimizer.eps": 1e-8, "optimizer.g_beta1": 0.0}

# A setting: its name in the table, the name of the setting it is "on" (empty for the first), the
# fields that it "changes", and whether it "reads_sentences", which not every data set has.
SETTINGS = (
    _setting("StackGAN baseline", "", {"recipe": "stackgan"}),
    _setting("EMA generator", "StackGAN baseline", {"ema.decay": 0.998}),
    _setting(
        "differentiable augmentation",
        "EMA generator",
        {"augment.policy": "translation,color,cutout"},
    ),
    _setting(
        "dfgan",
        "EMA generator",
        _RESIDUAL
        | {
            "recipe": "dfgan",
            "optimizer.d_beta1": 0.0,
            "optimizer.beta2": 0.9,
            "optimizer.g_learning_rate": 2e-4,  # 1e-3 diverges
            "optimizer.d_learning_rate": 4e-4,
        },
    ),
    _setting(
        "r3gan",
        "EMA generator",
        _RESIDUAL
        | {
            "recipe": "r3gan",
            "loss.r1_weight": 1.0,
            "loss.r2_weight": 1.0,
            "loss.mismatch_weight": 1.0,  # at 0.5 one seed of three ignores its captions
            "optimizer.d_beta1": 0.0,
            "optimizer.beta2": 0.99,
            "optimizer.g_learning_rate": 2e-4,
            "optimizer.d_learning_rate": 2e-4,
        },
    ),
    _setting(
        "small hinge networks",
        "EMA generator",
        {
            "recipe": "contrastive",
            "model.gf_dim": 12,
            "model.df_dim": 16,
            "model.z_dim": 32,
            "model.text_dim": 64,
            "optimizer.g_beta1": 0.0,
            "optimizer.beta2": 0.99,
            "optimizer.eps": 1e-8,
            "optimizer.warmup_steps": 100,
        },
    ),
    _setting(
        "contrastive loss within the batch",
        "small hinge networks",
        {
            "loss.contrastive_weight": 1.0,
            "loss.contrastive_temperature": 0.05,
            "loss.extra_negatives": 0,
        },
    ),
    _setting(
        "256 extra negatives",
        "contrastive loss within the batch",
        {"loss.extra_negatives": 256},
    ),
    _setting("discriminator warm-up", "256 extra negatives", {"loss.d_warmup_steps": 500}),
    _setting(
        "augmentation with warm-up",
        "discriminator warm-up",
        {"augment.policy": "translation,color,cutout"},
    ),
    _setting(
        "sentence embeddings",
        "discriminator warm-up",
        {"model.text_encoder": "sentence+attention"},
        reads_sentences=True,
    ),
    _setting(
        "projected discriminator",
        "sentence embeddings",
        {
            "recipe": "projected_gan",
            "model.df_dim": 32,
            "loss.d_warmup_steps": 0,  # its features are trained already
            "loss.contrastive_weight": 0.2,
            "augment.policy": "translation,color,cutout",
            "optimizer.g_learning_rate": 5e-4,
        },
        reads_sentences=True,
    ),
    _setting(
        "generator twice as wide",
        "projected discriminator",
        {"model.gf_dim": 24},
        reads_sentences=True,
    ),
    _setting(
        "minibatch standard deviation",
        "generator twice as wide",
        {"model.mbstd_group_size": 4},
        reads_sentences=True,
    ),
)


def get_config(data: str = "") -> ConfigDict:
    """Returns what all settings share: the baseline's networks a quarter as wide, without EMA.

    Args:
      data: "sentences" for a data set with sentence embeddings; see `sweep`.
    """
    config = common.get_config()
    config.model.gf_dim = 32
    config.model.df_dim = 16
    config.ema.decay = 0.0
    config.train.batch_size = 16
    config.train.steps = 2000
    config.train.sample_every = 1000
    config.train.validate_every = 0
    config.train.validation_batches = 4
    config.train.checkpoint_every = 1000
    config.checkpoint.keep_latest = 1
    config.health.every = 500
    return config


def all_changes(name: str) -> dict:
    """Returns the fields that a setting changes, those of the settings it is on included."""
    setting = next(setting for setting in SETTINGS if setting["name"] == name)
    return (all_changes(setting["on"]) if setting["on"] else {}) | setting["changes"]


def settings(data: str = "") -> list[dict]:
    """Returns those that a data set can have: "sentences" has sentence embeddings."""
    return [each for each in SETTINGS if data == "sentences" or not each["reads_sentences"]]


def sweep(add, data: str = "") -> None:
    """Adds a trial a setting, in their order."""
    for setting in settings(data):
        add(**all_changes(setting["name"]))
