"""Rendered shapes on a laptop: from nothing to pictures that follow their caption, in minutes.

    scripts/quickstart

or, by hand:

    t2igan prepare --source=shapes --num_examples=40000 --out=data/shapes
    t2igan train --config=configs/quickstart.py --workdir=runs/quickstart \
        --config.data.dir=data/shapes
"""

from ml_collections import ConfigDict

from configs import common


def get_config() -> ConfigDict:
    """Small networks that two CPU cores can train, and a discriminator that reads first."""
    config = common.get_config()
    config.recipe = "caption_contrast"
    config.model.gf_dim = 12
    config.model.df_dim = 16
    config.model.z_dim = 32
    config.model.text_dim = 64
    config.loss.contrastive_weight = 1.0
    config.loss.contrastive_temperature = 0.05
    config.loss.head_start_steps = 1500
    config.optimizer.g_beta1 = 0.0
    config.optimizer.beta2 = 0.99
    config.optimizer.eps = 1e-8
    config.optimizer.warmup_steps = 100
    config.ema.decay = 0.998
    config.train.batch_size = 16
    config.train.steps = 7700
    config.train.sample_every = 1000
    config.train.validate_every = 1000
    config.train.validation_batches = 8
    config.train.checkpoint_every = 1000
    config.health.every = 500
    return config
