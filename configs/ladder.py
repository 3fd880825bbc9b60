"""From the report's recipe upwards, one step at a time, at equal images: what each is worth.

    python scripts/ladder.py --name=shapes --dataset=data/shapes --matcher=data/shapes_matcher.npz
    t2igan train --config=configs/ladder.py --workdir=runs/report \
        --config.data.dir=data/shapes                               # the first rung alone

Narrow networks and 32,000 pictures a run: what a CPU core does in minutes. `scripts/ladder.py`
trains every rung by `t2igan sweep`, measures it and writes docs/ladder.md.
"""

from ml_collections import ConfigDict

from configs import common


def _rung(name: str, on: str, changes: dict, reads_sentences: bool = False) -> dict:
    return {"name": name, "on": on, "changes": changes, "reads_sentences": reads_sentences}


_RESIDUAL = {"model.gf_dim": 8, "model.df_dim": 8, "optimizer.eps": 1e-8, "optimizer.g_beta1": 0.0}

# A rung: its name in the table, that of the rung it is "on" (empty for the first), the fields that
# it "changes", and whether it "reads_sentences", which not every data set has.
RUNGS = (
    _rung("report", "", {"recipe": "stackgan"}),
    _rung("average of the generator", "report", {"ema.decay": 0.998}),
    _rung(
        "differentiable augmentation",
        "average of the generator",
        {"augment.policy": "translation,color,cutout"},
    ),
    _rung(
        "matching_hinge",
        "average of the generator",
        _RESIDUAL
        | {
            "recipe": "matching_hinge",
            "optimizer.d_beta1": 0.0,
            "optimizer.beta2": 0.9,
            "optimizer.g_learning_rate": 2e-4,  # 1e-3 diverges
            "optimizer.d_learning_rate": 4e-4,
        },
    ),
    _rung(
        "relativistic",
        "average of the generator",
        _RESIDUAL
        | {
            "recipe": "relativistic",
            "loss.r1_weight": 1.0,
            "loss.r2_weight": 1.0,
            "loss.wrong_weight": 1.0,  # at 0.5 one seed of three stops reading its captions
            "optimizer.d_beta1": 0.0,
            "optimizer.beta2": 0.99,
            "optimizer.g_learning_rate": 2e-4,
            "optimizer.d_learning_rate": 2e-4,
        },
    ),
    _rung(
        "small hinge networks",
        "average of the generator",
        {
            "recipe": "caption_contrast",
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
    _rung(
        "caption told from the batch's",
        "small hinge networks",
        {
            "loss.contrastive_weight": 1.0,
            "loss.contrastive_temperature": 0.05,
            "loss.contrastive_captions": 0,
        },
    ),
    _rung(
        "from 256 others too",
        "caption told from the batch's",
        {"loss.contrastive_captions": 256},
    ),
    _rung("head start", "from 256 others too", {"loss.head_start_steps": 500}),
    _rung(
        "augmentation on that",
        "head start",
        {"augment.policy": "translation,color,cutout"},
    ),
    _rung(
        "sentence embeddings",
        "head start",
        {"model.text_encoder": "sentence+attention"},
        reads_sentences=True,
    ),
    _rung(
        "through an ImageNet network",
        "sentence embeddings",
        {
            "recipe": "projected",
            "model.df_dim": 32,
            "loss.head_start_steps": 0,  # it can see from the first step on
            "loss.contrastive_weight": 0.2,
            "augment.policy": "translation,color,cutout",
            "optimizer.g_learning_rate": 5e-4,
        },
        reads_sentences=True,
    ),
    _rung(
        "generator twice as wide",
        "through an ImageNet network",
        {"model.gf_dim": 24},
        reads_sentences=True,
    ),
    _rung(
        "shown how much pictures differ",
        "generator twice as wide",
        {"model.spread_group": 4},
        reads_sentences=True,
    ),
)


def get_config(data: str = "") -> ConfigDict:
    """What all rungs share; the report's networks a quarter as wide, without an average.

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
    """Fields that a rung sets, those of the rungs below it included."""
    rung = next(rung for rung in RUNGS if rung["name"] == name)
    return (all_changes(rung["on"]) if rung["on"] else {}) | rung["changes"]


def rungs(data: str = "") -> list[dict]:
    """Those that a data set can have: "sentences" says that it has sentence embeddings."""
    return [rung for rung in RUNGS if data == "sentences" or not rung["reads_sentences"]]


def sweep(add, data: str = "") -> None:
    """A trial a rung, in their order."""
    for rung in rungs(data):
        add(**all_changes(rung["name"]))
