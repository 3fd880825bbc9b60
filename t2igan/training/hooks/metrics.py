"""Metrics of `t2igan evaluate` beside training, on held-out captions."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from input_pipeline.errors import UserError
from t2igan.metrics.engine import image_sets, registry
from t2igan.metrics.features import network
from t2igan.runtime import paths
from t2igan.runtime.multihost import is_first_process, on_one_device, same_everywhere
from t2igan.sampling.sampler import Sampler
from t2igan.training.experiment import Experiment
from t2igan.training.state import TrainState

if TYPE_CHECKING:
    from ml_collections import ConfigDict

    from t2igan.metrics.engine.context import Context

BATCH_SIZE = 64  # images drawn at once


class Evaluation:
    """The metrics that `config.evaluate` names, of the generator that samples.

    The captions and noises are the same each time, and those of `t2igan evaluate` with the run's
    seed. What is known of real images is kept from one time to the next.

    Each process measures all by itself on its own devices, which takes as long as if one did while
    the others waited, and no collective waits so long that it gives up. The numbers that count are
    the first process's, so that all of them rank checkpoints alike.
    """

    def __init__(self, experiment: Experiment) -> None:
        """Reads the feature network; draws nothing yet.

        Raises:
          UserError: an unknown metric, a field out of its range, no validation split, weights or
            a matcher that are missing, or a metric that is not defined on such an evaluation.
        """
        self._experiment = experiment
        self._metrics = registry.listed(experiment.config.evaluate.metrics)
        self._context = self._make_context()
        registry.require_all(self._context, self._metrics)
        self._captions = self._context.image_set("fake")

    def __call__(self, step: int, state: TrainState) -> dict[str, float]:
        """Returns {"validation/frechet_lite0": number, ...}."""
        generate = self._generator(state)
        fake = image_sets.generated(self._captions, generate, {})
        self._context.renew(fake, generate, self._context.about | {"step": step})
        results = registry.measure_all(self._context, self._metrics)
        values = {f"validation/{r.metric}": float(r.estimate.value) for r in results}
        return same_everywhere(values)

    def _make_context(self) -> Context:
        from t2igan.metrics.engine.build import make_context

        config, dataset = self._experiment.config, self._experiment.dataset
        settings, split = config.evaluate, config.data.validation_split
        _check_split(split)
        return make_context(
            self._metrics,
            generate=self._generator(None),
            dataset=dataset,
            split=split,
            num=settings.num,
            network=settings.features,
            weights=network.identified(network.listed(settings.get("weights"))),
            matcher=_matcher(settings.matcher, dataset),
            seed=config.seed,
            resamples=0,
            progress=is_first_process() and sys.stderr.isatty(),
        )

    def _generator(self, state: TrainState | None) -> image_sets.Generate:
        """(text, indices) -> images by a state's sampling generator."""
        variables = state and self._sampler.place(on_one_device(state.sampling_variables))
        key = jax.random.key(self._experiment.config.seed)

        def generate(text: image_sets.Text, indices: np.ndarray) -> np.ndarray:
            read = {name: text[name] for name in self._experiment.recipe.text_inputs}
            return self._sampler.sample(variables, read, indices, key)

        return generate

    @functools.cached_property
    def _sampler(self) -> Sampler:
        return Sampler(self._experiment.recipe, BATCH_SIZE)


def check(config: ConfigDict) -> None:
    """Looks whether `config.evaluate` can be measured on this machine; loads no network.

    Raises:
      UserError: an unknown metric or network, or weights that are not there.
    """
    metrics = registry.listed(config.evaluate.metrics)
    files = network.identified(network.listed(config.evaluate.get("weights")))
    for reader in registry.readers_of(metrics, config.evaluate.features):
        if reader in network.NETWORKS or reader == config.evaluate.features:
            network.require(reader, files.get(reader))


def _check_split(split: str) -> None:
    if not split:
        raise UserError(
            "config.evaluate measures on the validation split: set config.data.validation_split, "
            "or leave config.evaluate.metrics empty"
        )


def _matcher(path: str, dataset: Any) -> Any:
    if not path:
        return None
    from t2igan.metrics.matcher import model as matcher

    return matcher.load(str(paths.local(path))).reading(dataset.vocabulary)
