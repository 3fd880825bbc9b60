"""The sample grid of a run: fixed captions down; the real image and fixed noises across."""

from __future__ import annotations

import jax
import numpy as np

from input_pipeline.stream.train import eval_batches
from t2igan.runtime.multihost import on_one_device
from t2igan.runtime.rng import named_key
from t2igan.sampling.captions import first_captions
from t2igan.sampling.grid import captioned_grid
from t2igan.sampling.sampler import Sampler
from t2igan.training.experiment import Experiment
from t2igan.training.state import TrainState


class SampleGrid:
    """Generates the first captions of a split with the same noises each time, on one device."""

    def __init__(self, experiment: Experiment, split: str) -> None:
        """Reads the captions.

        Args:
          experiment: says how many captions and noises.
          split: where the captions are from.
        """
        config = experiment.config
        rows, self._columns = config.sample.num_captions, config.sample.num_noises
        recipe = experiment.recipe
        batches = eval_batches(
            experiment.dataset, split, batch_size=rows, sentences=recipe.reads_sentences
        )
        batch = next(batches)
        self._real = batch["image"][:, None]
        self._captions = first_captions(experiment.dataset, split, np.arange(len(self._real)))
        self._text = {
            name: np.repeat(batch[name], self._columns, axis=0) for name in recipe.text_inputs
        }
        self._noises = np.tile(np.arange(self._columns, dtype=np.int32), len(batch["codes"]))
        size = len(self._noises)  # all in one batch
        self._sampler = Sampler(recipe, size, jax.local_devices()[:1])
        self._key = named_key(jax.random.key(config.seed), "sample grid")

    def __call__(self, state: TrainState) -> np.ndarray:
        """Returns uint8 [height, width, 3]: captions, real images, and the sampling generator's."""
        variables = self._sampler.place(on_one_device(state.sampling_variables))
        generated = self._sampler.sample(variables, self._text, self._noises, self._key)
        rows = generated.reshape(-1, self._columns, *generated.shape[1:])
        sheet = captioned_grid(np.concatenate([self._real, rows], axis=1), self._captions)
        return np.asarray(sheet)
