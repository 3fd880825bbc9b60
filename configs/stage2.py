"""StackGAN's second stage on the report's first: 64 pixels become 256.

    t2igan prepare --source=hdf5 --captions=eee443_project_dataset_train.h5 --images=IMAGES \
        --word_vectors=glove.6B.200d.txt --image_size=256 --out=data/coco256
    t2igan train --config=configs/stage2.py --workdir=runs/coco256 \
        --config.data.dir=data/coco256 --config.stage1=runs/coco
    t2igan sample --workdir=runs/coco256 --caption="a dog on grass"

The first stage is any finished run on the same captions, prepared alike but for --image_size; 128
pixels work too. Its generator is copied into this run, which needs the folder only to start.

The paper's numbers for this stage: batch 64, Adam 2e-4 halved every 100 of 600 epochs; the cosine
here ends as low. Not yet run in full: `--dry_run` tells its time on your machine. Short runs on
rendered shapes at 128 pixels, on a first stage of the quickstart's that has 94 % of the captions
all right (gf_dim and df_dim 16, batch 16), on CPU: 20,000 pictures at learning rates of 1e-3 lost
the colours, 5.0 % all right; 32,000 at 2e-4 (13 minutes of one core) kept shapes, places and
colours to the eye, but not yet flat or sharp enough to be read: background 100 %, place 52 %,
shape 22 %, colour 18 %, all 7.6 %.
"""

from ml_collections import ConfigDict

from configs import common


def get_config() -> ConfigDict:
    """The paper's second stage with an average of the generator."""
    config = common.get_config()
    config.recipe = "stackgan2"
    config.optimizer.g_learning_rate = 2e-4
    config.optimizer.d_learning_rate = 2e-4
    config.optimizer.schedule = "cosine"
    config.train.batch_size = 64
    config.train.epochs = 600
    config.train.checkpoint_every = 2000
    return config
