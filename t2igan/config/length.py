"""The number of steps that a config asks for."""

from __future__ import annotations

from ml_collections import ConfigDict


def run_length(config: ConfigDict, num_images: int) -> int:
    """Returns the steps of a run, which the config may give in epochs.

    Args:
      config: of the experiment.
      num_images: of its training split.
    """
    epochs = config.train.epochs * num_images // config.train.batch_size
    return config.train.steps or max(1, epochs)
