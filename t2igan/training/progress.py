"""Progress of a run: log lines, the bar, and the stop at numbers that are not finite."""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import jax
import jax.numpy as jnp
from tqdm import tqdm

from t2igan.runtime.device import memory
from t2igan.runtime.multihost import is_first_process
from t2igan.runtime.trees import names
from t2igan.training.hooks.collapse import Unhealthy
from t2igan.workdir.writers import MetricWriter

# Steps on the devices at a time: one runs, one waits. With more, several CPU devices in one
# process deadlock.
_IN_FLIGHT = 2
_BAR = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"
_SHOWN = {"d": "loss/d", "g": "loss/g", "kl": "loss/kl"}


class StepReports:
    """Follows the steps of a run, two behind the one dispatched last.

    Attributes:
      latest: metrics of the last step that is known to be done.
    """

    def __init__(
        self, writer: MetricWriter, batch_size: int, log_every: int, first: int, last: int
    ) -> None:
        """Opens the progress bar, on process 0.

        Args:
          writer: gets one line every `log_every` steps, and at step 1 and the last.
          batch_size: images a step.
          log_every: steps.
          first: steps done before.
          last: length of the run, steps.
        """
        self.latest: dict[str, float] = {}
        self._writer = writer
        self._batch_size = batch_size
        self._logged = lambda step: step % log_every == 0 or step in (1, last)
        self._in_flight: deque[tuple[int, Any]] = deque()
        self._clock = _Clock()
        self._times = Times()
        self._bar = tqdm(
            total=last,
            initial=first,
            disable=not is_first_process(),
            mininterval=0.2 if sys.stderr.isatty() else 10.0,
            bar_format=_BAR,
        )

    def __enter__(self) -> StepReports:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Counts what is done in the block as waiting for the input."""
        with self._clock.waiting(), self._times.of("waiting for data"):
            yield

    def times(self) -> str:
        """Returns where the time since the start has gone, as shares of it."""
        return self._times.shares()

    def add(self, step: int, metrics: Mapping[str, jax.Array]) -> None:
        """Takes note of a step just dispatched, and waits for the one two before it.

        Args:
          step: steps done with it.
          metrics: name -> [] still being computed.

        Raises:
          Unhealthy: a metric of that earlier step is not a finite number.
        """
        self._in_flight.append((step, metrics))
        if len(self._in_flight) > _IN_FLIGHT:
            self._finish_one()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Waits for all steps; what is done in the block does not count as training time."""
        while self._in_flight:
            self._finish_one()
        with self._clock.paused():
            yield

    def doing(self, what: str) -> AbstractContextManager[None]:
        """Counts what is done in the block, within `paused`, under that name."""
        return self._times.of(what)

    def _finish_one(self) -> None:
        step, metrics = self._in_flight.popleft()
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        self._clock.tick()
        self._times.first_step_is_done()
        if self._logged(step):
            values |= self._clock.lap(self._batch_size) | self._progress(step)
            self._writer.scalars(step, values)
        self._bar.update()
        self._bar.set_postfix_str(self._summary(values), refresh=False)
        check_finite(step, values)
        self.latest = values

    def _progress(self, step: int) -> dict[str, float]:
        """Images seen in all, seconds since the start, and memory where the device tells."""
        found = {"images_seen": step * self._batch_size, "seconds/total": self._times.seconds()}
        used = memory(jax.local_devices()[0]).get("peak_bytes_in_use")
        return found | ({"device_memory_gib": used / 2**30} if used else {})

    def _summary(self, values: Mapping[str, float]) -> str:
        rate = f"{self._clock.rate * self._batch_size:.0f} images/s"
        losses = [f"{key} {values[name]:.3f}" for key, name in _SHOWN.items() if name in values]
        return ", ".join([rate, *losses])


class Times:
    """Where a run's time goes: compiling until the first step is done, then training and the rest.

    The blocks of `of` are parts that training is not; they do not overlap.
    """

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._spent: dict[str, float] = {}

    @contextmanager
    def of(self, what: str) -> Iterator[None]:
        """Counts the block as `what`."""
        start = time.perf_counter()
        yield
        self._spent[what] = self._spent.get(what, 0.0) + time.perf_counter() - start

    def first_step_is_done(self) -> None:
        """All until the first call, but for blocks of `of`, was compiling."""
        self._spent.setdefault("compiling", self.seconds() - sum(self._spent.values()))

    def seconds(self) -> float:
        """Returns the seconds since this was made."""
        return time.perf_counter() - self._start

    def shares(self) -> str:
        """Returns e.g. "training 80 %, compiling 15 %, saving 5 % of 61 s"."""
        total = max(1e-9, self.seconds())
        spent = {"training": total - sum(self._spent.values())} | self._spent
        parts = [f"{name} {100 * spent[name] / total:.0f} %" for name in spent]
        return f"{', '.join(parts)} of {total:.0f} s"


class _Clock:
    """Seconds of training since the last line; starts with the first step, once it is compiled."""

    def __init__(self) -> None:
        self.rate = 0.0  # steps a second
        self._start = 0.0
        self._steps, self._waited, self._paused = -1, 0.0, 0.0

    def tick(self) -> None:
        """A step is done."""
        self._steps += 1
        if self._steps == 0:
            self._restart()
        else:
            self.rate = self._steps / self._seconds()

    def lap(self, batch_size: int) -> dict[str, float]:
        """Returns images_per_sec and seconds a step since the last lap, then starts the next."""
        if self._steps < 1:
            return {}
        found = {
            "images_per_sec": self._steps * batch_size / self._seconds(),
            "seconds/step": self._seconds() / self._steps,
            "seconds/input_wait": self._waited / self._steps,
        }
        self._restart()
        return found

    @contextmanager
    def waiting(self) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._waited += time.perf_counter() - start

    @contextmanager
    def paused(self) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._paused += time.perf_counter() - start

    def _restart(self) -> None:
        self._start = time.perf_counter()
        self._steps, self._waited, self._paused = 0, 0.0, 0.0

    def _seconds(self) -> float:
        return max(1e-9, time.perf_counter() - self._start - self._paused)


def check_finite(step: int, values: Mapping[str, float]) -> None:
    """Raises where a number is not one.

    Raises:
      Unhealthy: names the step and the number.
    """
    for name, value in values.items():
        if not math.isfinite(value):
            raise Unhealthy(
                f"step {step}: {name} is {value}",
                ": training stops, the checkpoints before it are kept; try lower learning rates "
                "(config.optimizer) in another --workdir, or the same command with "
                "--config.rollback.times=3",
            )


@jax.jit
def _finite(leaves: list[jax.Array]) -> jax.Array:
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves])


def check_state_finite(step: int, state: Any) -> None:
    """Raises where a state that is about to be saved holds a number that is not one.

    Raises:
      Unhealthy: names the step and the first such array.
    """
    finite = jax.device_get(_finite(jax.tree.leaves(state)))
    for name, good in zip(names(state), finite, strict=True):
        check_finite(step, {} if good else {name: math.nan})
