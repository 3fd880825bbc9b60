"""Flowers at 128 pixels: a second stage on a finished first stage of 64.

    t2igan prepare --source=folder --images=images --captions=captions.csv \
        --word_vectors=glove.6B.200d.txt --image_size=128 --caption_length=24 \
        --sentence_encoder=minilm --out=data/flowers_128
    t2igan train --config=configs/flowers_128.py --workdir=runs/flowers_128 \
        --config.data.dir=data/flowers_128 --config.stage1=runs/flowers

The first stage is a run of `configs/flowers.py` on the same images, prepared alike but for
--image_size. Twenty minutes of one AMD EPYC core, 19,200 images, three seeds on one first stage, in
brackets its image upsampled: frechet_lite0 56.0 to 59.3 (66.7; real images 20.0), swd 60 to 65 (68;
15), coverage_lite0 0.48 to 0.52 (0.28). Petals and leaves get edges and texture; some of it is a
fine checkered pattern. See docs/ablations.md, "Second stages".
"""

from ml_collections import ConfigDict

from configs import common


def get_config() -> ConfigDict:
    """Returns a projected discriminator over a small network that adds to the enlarged image."""
    config = common.projected(common.get_config())
    config.model.gf_dim = 12
    config.loss.consistency_weight = 10.0
    config.loss.reconstruction_weight = 100.0
    # What is seen is the first stage's: no contrastive loss, and its temperature as by default.
    config.loss.contrastive_weight = 0.0
    config.loss.contrastive_temperature = 0.1
    config.train.steps = 1200
    config.train.sample_every = 250
    config.train.validate_every = 500
    config.train.validation_batches = 4
    config.train.checkpoint_every = 250
    return config
