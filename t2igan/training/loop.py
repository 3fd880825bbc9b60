"""The training loop: open, resume, step, log, look, save, stop."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from input_pipeline.device import prefetch
from input_pipeline.stream import TrainStream
from t2igan.training import evaluation, run_folder
from t2igan.training.checkpoints import Checkpoints
from t2igan.training.experiment import Experiment, open_experiment
from t2igan.training.metric_writers import Writers, open_writers
from t2igan.training.sample_grid import SampleGrid
from t2igan.training.signals import StopRequest
from t2igan.training.state import TrainState
from t2igan.training.step_reports import StepReports, check_state_finite
from t2igan.training.validation import Validation

if TYPE_CHECKING:
    from ml_collections import ConfigDict


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a call of `train` ended.

    Attributes:
      step: steps done, all of them in the newest checkpoint.
      num_steps: length of the run.
      stopped_by: the signal that asked it to stop early, or None.
    """

    step: int
    num_steps: int
    stopped_by: signal.Signals | None = None


@dataclasses.dataclass(frozen=True)
class Periodic:
    """Something done every so many steps, and after the last.

    Attributes:
      every: steps; 0 for the last step alone.
      act: takes (step, state), returns metrics of that step to keep.
    """

    every: int
    act: Callable[[int, TrainState], Mapping[str, float]]

    def is_due(self, step: int, last: int) -> bool:
        """Whether it is to be done after `step` steps of `last`."""
        return step == last or (self.every > 0 and step % self.every == 0)


def train(config: ConfigDict, workdir: Path, num_devices: int = 0) -> Outcome:
    """Trains the config's run in `workdir` to its end, from its newest checkpoint where it has one.

    Returns when the run is done, or once a checkpoint is saved after SIGTERM or Ctrl-C.

    Args:
      config: see configs/common.py.
      workdir: folder of the run; made if missing.
      num_devices: of this process to use; 0 for all.

    Raises:
      UserError: a mistake in the config, data that cannot be read, a run of another config in the
        folder, a full disk, or a loss that is not finite.
    """
    run_folder.check_resumes(workdir, config)
    experiment = open_experiment(config, num_devices, workdir)
    with (
        StopRequest() as stop,
        run_folder.claimed(workdir, config),
        Checkpoints(workdir, **config.checkpoint) as checkpoints,
        experiment.stream() as stream,
    ):
        first, state = _resume(experiment, checkpoints, stream)
        if first >= experiment.num_steps:
            return Outcome(first, experiment.num_steps)
        run_folder.keep_config(workdir, config)
        with open_writers(workdir, first) as writers:
            run = _Run(experiment, checkpoints, stream, stop, writers)
            return run.steps(first, state)


def _resume(
    experiment: Experiment, checkpoints: Checkpoints, stream: TrainStream
) -> tuple[int, TrainState]:
    """Steps done and the state after them; the stream goes on where they ended."""
    found = checkpoints.restore_latest({"state": experiment.state_shapes(), "data": None})
    if found is None:
        return 0, experiment.initial_state()
    step, items = found
    stream.restore(items["data"])
    return step, items["state"]


@dataclasses.dataclass
class _Run:
    """What the steps of one call of `train` share."""

    experiment: Experiment
    checkpoints: Checkpoints
    stream: TrainStream
    stop: StopRequest
    writers: Writers

    def steps(self, first: int, state: TrainState) -> Outcome:
        """Does the steps after `first`, and saves the last."""
        train, last = self.experiment.config.train, self.experiment.num_steps
        train_step = self.experiment.train_step()
        actions = self._actions()
        saving = Periodic(train.checkpoint_every, lambda step, state: {})
        reports = StepReports(self.writers, train.batch_size, train.log_every, first, last)
        with reports, prefetch(self.stream, self.experiment.mesh) as batches:
            for step in range(first + 1, last + 1):
                with reports.waiting():
                    batch = next(batches)
                state, metrics = train_step(state, batch)
                reports.add(step, metrics)  # waits for the step before the one before this

                stopping = self.stop.reached(step)
                due = [action for action in actions if action.is_due(step, last)]
                save = stopping or saving.is_due(step, last)
                if due or save:
                    with reports.paused():
                        found = self._look(due, step, state)
                        if save:
                            self._save(step, state, reports.latest | found)
                if stopping:
                    return Outcome(step, last, self.stop.signal)
        return Outcome(last, last)

    def _actions(self) -> list[Periodic]:
        """What is done beside training; a new kind of it is a new line here."""
        train, data = self.experiment.config.train, self.experiment.config.data
        grid = SampleGrid(self.experiment, data.validation_split or data.train_split)
        actions = [Periodic(train.sample_every, self._draw(grid))]
        if data.validation_split:
            validation = Validation(self.experiment)
            actions.append(Periodic(train.validate_every, lambda _, state: validation(state)))
        if evaluation.is_wanted(self.experiment.config):
            every = self.experiment.config.evaluate.every
            actions.append(Periodic(every, evaluation.Evaluation(self.experiment)))
        return actions

    def _draw(self, grid: SampleGrid) -> Callable[[int, TrainState], Mapping[str, float]]:
        def draw(step: int, state: TrainState) -> Mapping[str, float]:
            self.writers.image(step, "samples", grid(state))
            return {}

        return draw

    def _look(self, due: list[Periodic], step: int, state: TrainState) -> dict[str, float]:
        found: dict[str, float] = {}
        for action in due:
            found |= action.act(step, state)
        if found:
            self.writers.scalars(step, found)
        return found

    def _save(self, step: int, state: TrainState, metrics: Mapping[str, float]) -> None:
        check_state_finite(step, state)
        items = {
            "state": state,
            "generator": state.sampling_variables,
            "data": self.stream.state(step),
            "meta": self.experiment.description(),
        }
        self.checkpoints.save(step, items, metrics)
