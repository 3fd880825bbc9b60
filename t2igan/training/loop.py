"""The training loop: open, resume, step, log, evaluate, save, stop."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import functools
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp

from input_pipeline.stream.train import TrainStream
from t2igan.evaluation.best import best_by
from t2igan.evaluation.run_generator import is_wanted
from t2igan.runtime import sharding
from t2igan.runtime.device import prefetch
from t2igan.runtime.multihost import is_first_process
from t2igan.runtime.preemption import StopRequest
from t2igan.training import compile as compiled
from t2igan.training.experiment import Experiment, open_experiment
from t2igan.training.header import header
from t2igan.training.hooks.collapse import Unhealthy, Watch, say
from t2igan.training.hooks.health import Health
from t2igan.training.hooks.metrics import Evaluation
from t2igan.training.hooks.sample_grid import SampleGrid
from t2igan.training.hooks.validation import Validation
from t2igan.training.profile import Profile
from t2igan.training.progress import StepReports, check_state_finite
from t2igan.training.state import ScaledState, TrainState
from t2igan.workdir import folder as run_folder
from t2igan.workdir.checkpoints import Checkpoints
from t2igan.workdir.meta import CheckpointMeta
from t2igan.workdir.starts import note_start
from t2igan.workdir.writers import Writers, open_writers

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
      at_last: whether it is done after the last step, where that is between two times.
    """

    every: int
    act: Callable[[int, TrainState], Mapping[str, float]]
    at_last: bool = True

    def is_due(self, step: int, last: int) -> bool:
        """Returns whether it is to be done after `step` steps of `last`."""
        return (step == last and self.at_last) or (self.every > 0 and step % self.every == 0)


def train(config: ConfigDict, workdir: Path, num_devices: int = 0) -> Outcome:
    """Trains the config's run in `workdir` to its end, from its newest checkpoint where it has one.

    Returns when the run is done, or once a checkpoint is saved after SIGTERM or Ctrl-C.

    Args:
      config: see configs/common.py.
      workdir: folder of the run; made if missing.
      num_devices: of this process to use; 0 for all.

    Raises:
      UserError: a mistake in the config, data that cannot be read, a run of another config in the
        folder, a full disk, or a loss that is not finite and no rollback left.
    """
    run_folder.check_resumes(workdir, config)
    best_metric, best_mode = best_by(config)
    experiment = open_experiment(config, num_devices, workdir)
    with (
        StopRequest() as stop,
        run_folder.claimed(workdir, config),
        Checkpoints(
            workdir,
            keep_latest=config.checkpoint.keep_latest,
            keep_best=config.checkpoint.keep_best,
            best_metric=best_metric,
            best_mode=best_mode,
        ) as checkpoints,
        experiment.stream() as stream,
    ):
        first, state, watch = _resume(experiment, checkpoints, stream)
        if first >= experiment.num_steps:
            return Outcome(first, experiment.num_steps)
        run_folder.keep_config(workdir, config)
        if is_first_process():
            note_start(workdir, first)
        return _Run(workdir, experiment, checkpoints, stream, stop, watch).run(first, state)


def _resume(
    experiment: Experiment, checkpoints: Checkpoints, stream: TrainStream
) -> tuple[int, TrainState, Watch]:
    """Steps done, the state and the watch after them; the stream goes on where they ended."""
    targets = {"state": experiment.state_shapes(), "data": None, "meta": None}
    found = checkpoints.restore_latest(targets)
    if found is None:
        stream.seek(0)
        return 0, experiment.initial_state(), Watch()
    step, items = found
    stream.restore(items["data"])
    saved = CheckpointMeta.from_json(items["meta"]).monitor
    return step, items["state"], Watch(**saved) if saved else Watch(since=step)


@dataclasses.dataclass
class _Run:
    """What the steps of one call of `train` share."""

    workdir: Path
    experiment: Experiment
    checkpoints: Checkpoints
    stream: TrainStream
    stop: StopRequest
    watch: Watch
    writers: Writers = dataclasses.field(default_factory=Writers)
    has_checked_best: bool = False

    def run(self, first: int, state: TrainState) -> Outcome:
        """Does the steps after `first`; where they go wrong, those after the last healthy one."""
        note: dict[str, float] = {}
        while True:
            # What was written of steps that are about to be done again is cut.
            with open_writers(self.workdir, first, self.experiment.config) as self.writers:
                if note:
                    self.writers.scalars(first + 1, note)
                try:
                    return self._steps(first, self._scaled(state))
                except Unhealthy as error:
                    if not self.watch.may_roll_back(self.experiment.config):
                        raise
                    found = error.found
            first, state, note = self._roll_back(found)

    def _scaled(self, state: TrainState) -> TrainState:
        """The state with the scale of its learning rates, where that is or may come to be used."""
        if self.watch.scale == 1 and not self.experiment.config.rollback.times:
            return state
        scale = sharding.replicate(jnp.float32(self.watch.scale), self.experiment.mesh)
        return ScaledState(**vars(state), learning_rate_scale=scale)

    def _roll_back(self, found: str) -> tuple[int, TrainState, dict[str, float]]:
        """Steps done, the state after them, and what metrics.jsonl is to say of it.

        Nothing of it is written down before the next checkpoint: a run that is killed until then
        goes wrong in the same way again, and comes back the same.
        """
        rollback = self.experiment.config.rollback
        self.checkpoints.return_to_healthy(found, or_start=self.watch.since == 0)
        step, state, restored = _resume(self.experiment, self.checkpoints, self.stream)
        self.watch = self.watch.rolled_back(restored, rollback.factor)
        count, scale = self.watch.rollbacks, self.watch.scale
        say(
            f"{found}; rollback {count} of {rollback.times}: back to step {step}, with {scale:g} "
            "times the learning rates; later checkpoints are kept as checkpoints/unhealthy_*"
        )
        return step, state, {"rollback/count": count, "rollback/learning_rate_scale": scale}

    @functools.cached_property
    def _train_step(self) -> compiled.StepFunction:
        return self.experiment.train_step()

    @functools.cached_property
    def _d_warmup_step(self) -> compiled.StepFunction:
        return self.experiment.train_step(d_warmup=True)

    def _step_function(self, step: int) -> compiled.StepFunction:
        early = step <= self.experiment.recipe.d_warmup_steps
        return self._d_warmup_step if early else self._train_step

    def _steps(self, first: int, state: TrainState) -> Outcome:
        """Does the steps after `first`, and saves the last."""
        train, last = self.experiment.config.train, self.experiment.num_steps
        actions = self._actions
        if is_first_process():
            print(header(self.experiment, state, first), file=sys.stderr)
        profile = Profile(self.workdir, self.experiment.config.profile, first)
        saving = Periodic(train.checkpoint_every, lambda step, state: {})
        reports = StepReports(self.writers, train.batch_size, train.log_every, first, last)
        with (
            contextlib.closing(profile),
            reports,
            prefetch(self.stream, self.experiment.mesh) as batches,
        ):
            for step in range(first + 1, last + 1):
                with reports.waiting():
                    batch = next(batches)
                state, metrics = self._step_function(step)(state, batch)
                reports.add(step, metrics)  # waits for the step before the one before this
                profile.after(step, metrics)

                stopping = self.stop.reached(step)
                due = [action for action in actions if action.is_due(step, last)]
                save = stopping or saving.is_due(step, last)
                if due or save:
                    with reports.paused():
                        with reports.doing("evaluating"):
                            found = self._look(due, step, state)
                        if save:
                            with reports.doing("saving"):
                                self._save(step, state, reports.latest | found)
                if stopping:
                    break
            else:
                stopping = False
            with reports.doing("saving"):
                self.checkpoints.wait()
        if is_first_process():
            print(f"time: {reports.times()}", file=sys.stderr)
        return Outcome(step, last, self.stop.signal) if stopping else Outcome(last, last)

    @functools.cached_property
    def _actions(self) -> list[Periodic]:
        """What is done beside training; a new kind of it is a new line here."""
        train, data = self.experiment.config.train, self.experiment.config.data
        grid = SampleGrid(self.experiment, data.validation_split or data.train_split)
        actions = [Periodic(train.sample_every, self._draw(grid))]
        if data.validation_split:
            validation = Validation(self.experiment)
            actions.append(Periodic(train.validate_every, lambda _, state: validation(state)))
        if is_wanted(self.experiment.config):
            every = self.experiment.config.evaluate.every
            actions.append(Periodic(every, Evaluation(self.experiment)))
        if every := self.experiment.config.health.every:
            actions.append(Periodic(every, self._check(Health(self.experiment)), at_last=False))
        return actions

    def _check(self, health: Health) -> Callable[[int, TrainState], Mapping[str, float]]:
        def check(step: int, state: TrainState) -> Mapping[str, float]:
            if step <= self.experiment.recipe.d_warmup_steps:
                return {}  # the generator has not begun
            return self.watch.check(step, health(state), self.experiment.config)

        return check

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
        looked_at_all = all(
            action.is_due(step, self.experiment.num_steps) for action in self._actions
        )
        if looked_at_all and not self.has_checked_best:
            self._check_best_metric(metrics)
        items = {
            "state": state.saved,
            "generator": state.sampling_variables,
            "data": self.stream.state(step),
            "meta": self.experiment.meta(self._watch_until(step)).to_json(),
        }
        self.checkpoints.save(step, items, metrics)

    def _check_best_metric(self, metrics: Mapping[str, float]) -> None:
        """Says it where no step can be the best, because none will have the metric.

        Args:
          metrics: of a step at which all was looked at that the run looks at.
        """
        self.has_checked_best = True
        config = self.experiment.config
        name = config.checkpoint.best_metric
        is_unasked = name.startswith("validation/") and not config.data.validation_split
        if not name or name in metrics or is_unasked or not config.checkpoint.keep_best:
            return
        near = difflib.get_close_matches(name, metrics, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(sorted(metrics))}."
        say(
            f"config.checkpoint.best_metric={name!r} is no metric of this run, so no checkpoint "
            f"is kept as the best: {hint} Stopped, a run goes on with another."
        )

    def _watch_until(self, step: int) -> dict[str, Any]:
        """The watch as JSON; where nothing is checked it has yet to begin."""
        watched = self.experiment.config.health.every > 0
        return dataclasses.asdict(self.watch) | ({} if watched else {"since": step})
