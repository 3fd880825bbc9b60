"""Rendered shapes on a laptop: from nothing to pictures that follow their caption, in minutes.

    scripts/quickstart

or, by hand:

    t2igan prepare --source=shapes --num_examples=4000 --out=data/shapes
    t2igan train --config=configs/quickstart.py --workdir=runs/quickstart \
        --config.data.dir=data/shapes
"""

from ml_collections import ConfigDict

from configs import common


def get_config() -> ConfigDict:
    """The report's recipe with networks that two CPU cores can train."""
    config = common.get_config()
    config.model.gf_dim = 16
    config.model.df_dim = 16
    config.model.cond_dim = 64
    config.model.z_dim = 32
    config.model.text_compressor_dim = 64
    config.optimizer.g_learning_rate = 5e-4
    config.optimizer.d_learning_rate = 5e-4
    config.train.batch_size = 32
    config.train.steps = 600
    config.train.log_every = 20
    config.train.sample_every = 200
    config.train.validate_every = 200
    config.train.validation_batches = 4
    config.train.checkpoint_every = 200
    return config
