"""Metrics of `t2igan evaluate` beside training, on held-out captions."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from input_pipeline.errors import UserError
from t2igan.metrics.engine import image_sets as populations
from t2igan.metrics.engine import registry as measures
from t2igan.runtime.device import data_mesh
from t2igan.runtime.multihost import is_first_process, on_one_device, same_everywhere
from t2igan.runtime.rng import example_noise
from t2igan.runtime.sharding import replicate
from t2igan.sampling.sampler import draw_all, make_draw_fn
from t2igan.training.experiment import Experiment
from t2igan.training.state import TrainState

if TYPE_CHECKING:
    from t2igan.metrics.engine.context import Context

BATCH_SIZE = 64  # pictures drawn at once


class Evaluation:
    """The metrics that `config.evaluate` names, of the generator that samples.

    The captions and noises are the same each time, and those of `t2igan evaluate` with the run's
    seed. What is known of real pictures is kept from one time to the next.

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
        self._metrics = measures.listed(experiment.config.evaluate.metrics)
        self._context = self._make_context()
        measures.require_all(self._context, self._metrics)
        self._captions = self._context.pictures("fake")

    def __call__(self, step: int, state: TrainState) -> dict[str, float]:
        """Returns {"validation/frechet_lite0": number, ...}."""
        generate = self._generator(state)
        fake = populations.generated(self._captions, generate, {})
        self._context.renew(fake, generate, self._context.about | {"step": step})
        results = measures.measure_all(self._context, self._metrics)
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
            matcher=_matcher(settings.matcher, dataset),
            seed=config.seed,
            resamples=0,
            progress=is_first_process() and sys.stderr.isatty(),
        )

    def _generator(self, state: TrainState | None) -> populations.Generate:
        """(text, indices) -> pictures by a state's sampling generator."""
        variables = state and replicate(on_one_device(state.sampling_variables), self._mesh)
        key = jax.random.key(self._experiment.config.seed)

        def draw(text: Any, indices: np.ndarray) -> jax.Array:
            return self._draw(variables, text, self._noise(key, indices))

        def generate(text: populations.Text, indices: np.ndarray) -> np.ndarray:
            read = {name: text[name] for name in self._experiment.recipe.text_inputs}
            rows = (read, np.asarray(indices, np.int32))
            return draw_all(draw, rows, self._experiment.dataset.image_size, BATCH_SIZE)

        return generate

    @functools.cached_property
    def _mesh(self) -> jax.sharding.Mesh:
        devices = jax.local_devices()
        while BATCH_SIZE % len(devices):
            devices = devices[:-1]
        return data_mesh(devices)

    @functools.cached_property
    def _draw(self) -> Callable[..., jax.Array]:
        return make_draw_fn(self._experiment.recipe, self._mesh)

    @functools.cached_property
    def _noise(self) -> Callable[..., dict[str, jax.Array]]:
        dims = self._experiment.recipe.noise_dims
        return jax.jit(lambda key, indices: example_noise(key, indices, dims))


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

    return matcher.load(path).reading(dataset.vocabulary)
