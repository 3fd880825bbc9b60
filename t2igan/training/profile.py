"""A trace of some steps, for TensorBoard's profile plugin and xprof."""

from __future__ import annotations

import sys
from pathlib import Path

import jax

_AFTER = 3  # steps that are not traced: the first compile and fill caches


class Profile:
    """Traces `num_steps` steps of a call of `train` into RUN/profile, on process 0's devices."""

    def __init__(self, workdir: Path, num_steps: int, first: int) -> None:
        """Starts nothing yet.

        Args:
          workdir: folder of the run.
          num_steps: to trace; 0 for none.
          first: steps done before.
        """
        self._folder = Path(workdir) / "profile"
        self._begin = first + _AFTER if num_steps and jax.process_index() == 0 else -1
        self._end = self._begin + num_steps
        self._is_tracing = False

    def after(self, step: int, wait_for: object) -> None:
        """Begins or ends the trace where this step is the one.

        Args:
          step: that was just dispatched.
          wait_for: what it computes, so that a trace has whole steps.
        """
        if step == self._begin:
            jax.block_until_ready(wait_for)
            jax.profiler.start_trace(str(self._folder))
            self._is_tracing = True
        elif self._is_tracing and step == self._end:
            jax.block_until_ready(wait_for)
            self.close()

    def close(self) -> None:
        """Ends a trace that is under way."""
        if self._is_tracing:
            self._is_tracing = False
            jax.profiler.stop_trace()
            print(
                f"profile of {self._end - self._begin} steps: tensorboard --logdir={self._folder}",
                file=sys.stderr,
            )
