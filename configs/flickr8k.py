"""The StackGAN baseline on 7,000 captioned photographs: small enough for one evening.

    t2igan prepare --source=hdf5 --captions=eee443_project_dataset_train.h5 --images=images \
        --word_vectors=glove.6B.200d.txt --image_size=64 --out=data/flickr8k
    t2igan train --config=configs/flickr8k.py --workdir=runs/flickr8k \
        --config.data.dir=data/flickr8k
"""

from ml_collections import ConfigDict

from configs import common


def get_config() -> ConfigDict:
    """Returns the baseline with an EMA generator and mirrored images."""
    config = common.get_config()
    config.data.flip = True  # doubles a small set; its captions seldom say left or right
    config.train.epochs = 200
    config.train.sample_every = 500
    config.train.validate_every = 500
    config.train.checkpoint_every = 500
    return config
