"""Both losses on held-out images: their own captions, noise and mismatched captions."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from input_pipeline.stream.train import eval_batches
from t2igan.runtime.device import data_mesh, put
from t2igan.runtime.multihost import on_one_device
from t2igan.runtime.rng import named_key
from t2igan.training.compile import make_eval_step
from t2igan.training.experiment import Experiment
from t2igan.training.state import TrainState

_IN_FLIGHT = 2  # steps on the devices at a time; several CPU devices deadlock with many
Rows = dict[str, np.ndarray]


class Validation:
    """Losses over the whole validation split, the same images, captions and noise each time."""

    def __init__(self, experiment: Experiment) -> None:
        """Looks the split up; compiles nothing yet.

        Raises:
          UserError: there is no such split.
        """
        self._experiment = experiment
        experiment.dataset.source(experiment.config.data.validation_split)
        self._all = make_eval_step(experiment.recipe, experiment.mesh)
        self._one_mesh = data_mesh(jax.local_devices()[:1])
        self._one = make_eval_step(experiment.recipe, self._one_mesh)
        self._key = named_key(jax.random.key(experiment.config.seed), "validation")

    def __call__(self, state: TrainState) -> dict[str, float]:
        """Returns {"validation/loss/d": mean over the split, ...}.

        Uses running statistics and the generator that samples. Each batch's mean counts by its
        number of images.
        """
        totals: dict[str, float] = {}
        count = 0
        running: deque[tuple[int, Any]] = deque()

        def finish_one() -> None:
            rows, metrics = running.popleft()
            for name, value in jax.device_get(metrics).items():
                totals[name] = totals.get(name, 0.0) + rows * float(value)

        for batch in self._batches():
            rows = len(batch["index"])
            count += rows
            running.append((rows, self._step(state, batch)))
            if len(running) > _IN_FLIGHT:
                finish_one()
        while running:
            finish_one()
        return {f"validation/{name}": total / count for name, total in totals.items()}

    def _step(self, state: TrainState, batch: Rows) -> Any:
        mesh = self._experiment.mesh
        if len(batch["index"]) % mesh.size:
            one = on_one_device(state)
            return self._one(one, put(batch, self._one_mesh), self._key)
        share = len(batch["index"]) // jax.process_count()
        mine = slice(jax.process_index() * share, (jax.process_index() + 1) * share)
        local = {name: rows[mine] for name, rows in batch.items()}
        return self._all(state, put(local, mesh), self._key)

    def _batches(self) -> Iterator[Rows]:
        """Every image once; only the last batch may be one that the devices cannot divide."""
        config = self._experiment.config
        batches = eval_batches(
            self._experiment.dataset,
            config.data.validation_split,
            batch_size=config.train.batch_size,
            captions="drawn",
            seed=config.seed,
            sentences=self._experiment.recipe.reads_sentences,
        )
        needed = ("image", "index", *self._experiment.recipe.text_inputs)
        some = itertools.islice(batches, config.train.validation_batches or None)
        arrays = ({name: batch[name] for name in needed} for batch in some)
        for batch in join_single_rest(arrays):
            yield from split_rows(batch, self._experiment.mesh.size)


def join_single_rest(batches: Iterator[Rows]) -> Iterator[Rows]:
    """Yields the same batches; a last one of a single row goes to the one before it.

    An image alone in a batch has no other one whose caption is wrong for it.
    """
    held: Rows | None = None
    for batch in batches:
        if held is None:
            held = batch
        elif len(batch["index"]) == 1:
            held = {name: np.concatenate([held[name], batch[name]]) for name in held}
        else:
            yield held
            held = batch
    if held is not None:
        yield held


def split_rows(batch: Rows, num_devices: int) -> Iterator[Rows]:
    """Yields the rows that the devices can divide, then the rest; a rest of one takes some back."""
    rows = len(batch["index"])
    rest = rows % num_devices
    if rest == 1 and rows > num_devices:
        rest += num_devices
    bounds = [0, rows - rest, rows]
    for start, stop in itertools.pairwise(bounds):
        if stop > start:
            yield {name: values[start:stop] for name, values in batch.items()}
