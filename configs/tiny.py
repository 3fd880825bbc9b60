"""A run of a minute on any prepared set: to see that everything works, not to see good images.

    t2igan train --config=configs/tiny.py --workdir=runs/tiny --config.data.dir=DATASET

60 steps with a checkpoint every 10, networks a sixteenth as wide as the StackGAN baseline's.
"""

from ml_collections import ConfigDict

from configs import common


def get_config() -> ConfigDict:
    """Returns the StackGAN baseline, narrow and short."""
    config = common.get_config()
    config.model.gf_dim = 8
    config.model.df_dim = 8
    config.model.cond_dim = 16
    config.model.z_dim = 16
    config.model.text_compressor_dim = 16
    config.train.batch_size = 16
    config.train.steps = 60
    config.train.log_every = 5
    config.train.sample_every = 30
    config.train.validate_every = 30
    config.train.validation_batches = 2
    config.train.checkpoint_every = 10
    config.sample.num_captions = 4
    return config


def sweep(add) -> None:
    """Adds two learning rates: the smallest thing that `t2igan sweep` can compare."""
    for rate in (1e-3, 2e-4):
        add(**{"optimizer.g_learning_rate": rate, "optimizer.d_learning_rate": rate})
