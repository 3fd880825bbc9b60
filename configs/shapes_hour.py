"""Rendered shapes in about an hour of two CPU cores: the quickstart's recipe, trained to the end.

    t2igan prepare --source=shapes --num_examples=100000 --out=data/shapes_100k
    t2igan train --config=configs/shapes_hour.py --workdir=runs/shapes_hour \
        --config.data.dir=data/shapes_100k

One AMD EPYC core, seeds 0, 1, 2: 103, 45 and 50 minutes (seed 0 beside other work and without
large memory pages). Of 10,000 test captions all attributes are correct for 99.93, 99.97 and
100.00 %; of 5,000 captions with pairs of shape and color that no training image shows, for 99.84,
99.84 and 99.50 %.
"""

from ml_collections import ConfigDict

from configs import common


def get_config() -> ConfigDict:
    """Returns the quickstart with learning rates that decay to 0 and a longer EMA."""
    config = common.small_networks(common.get_config())
    config.recipe = "contrastive"
    config.model.gf_dim = 12
    config.model.df_dim = 16
    config.model.z_dim = 32
    config.loss.contrastive_weight = 1.0
    config.loss.d_warmup_steps = 1500
    config.optimizer.schedule = "cosine"
    config.ema.decay = 0.9995
    config.train.steps = 40_000
    config.train.sample_every = 2000
    config.train.validate_every = 2000
    config.train.validation_batches = 8
    config.train.checkpoint_every = 2000
    return config
