"""COCO at 64x64 pixels on one GPU in a night, for `fid30k_coco64`.

    python scripts/tables/coco64.py --coco=COCO --out=coco64

prepares, trains by this config, evaluates and writes the table of docs/evaluation.md. By hand:

    t2igan prepare --source=coco --captions=COCO/annotations/captions_train2014.json \
        --images=COCO/train2014 --image_size=64 --resize=center_crop --resampling=lanczos \
        --sentence_encoder=minilm --out=data/coco64
    t2igan train --config=configs/coco64.py --workdir=runs/coco64 --config.data.dir=data/coco64

`configs/photographs.py` with a generator four times and a discriminator twice as wide, batches of
256, bfloat16 and falling learning rates.
Never run in full: no card was at hand, and nothing here was tuned at this size.
"""

from ml_collections import ConfigDict

from configs import common


def get_config() -> ConfigDict:
    """Returns the projected discriminator's config, wide, for 51 million images."""
    config = common.projected(common.get_config())
    config.model.gf_dim = 96
    config.model.df_dim = 64
    config.model.z_dim = 100
    config.train.batch_size = 256
    config.train.steps = 200_000
    config.train.compute_dtype = "bfloat16"
    config.train.sample_every = 5000
    config.train.validate_every = 5000
    config.train.validation_batches = 8
    config.train.checkpoint_every = 5000
    config.optimizer.schedule = "linear"
    config.optimizer.decay_start = 0.75
    config.ema.decay = 0.9995
    return config
