"""The StackGAN baseline at 64x64 on COCO, as the student report trained it.

    t2igan prepare --source=hdf5 --captions=eee443_project_dataset_train.h5 --images=IMAGES \
        --word_vectors=glove.6B.200d.txt --image_size=64 --out=data/coco
    t2igan train --config=configs/coco_stage1.py --workdir=runs/coco --config.data.dir=data/coco

The report states 8 to 9 hours for its 1000 epochs on its machine, and at their end a discriminator
loss of 0.575 on train and 0.802 on validation. Its code had eleven mistakes that are not repeated
here, so these losses are its own, not numbers to expect.
"""

from ml_collections import ConfigDict

from configs import common


def get_config() -> ConfigDict:
    """Returns the numbers of the StackGAN baseline's table."""
    config = common.get_config()
    config.ema.decay = 0.0  # the report sampled from the generator as it stood
    config.train.batch_size = 128
    config.train.epochs = 1000
    config.train.sync_batch_norm = False  # the report ran on one device
    config.train.checkpoint_every = 2000
    return config
