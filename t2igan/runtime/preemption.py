"""SIGTERM and Ctrl-C as a request to stop after the current step, on all processes."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

import jax


class StopRequest:
    """Catches SIGTERM and the first Ctrl-C within its `with` block; a second Ctrl-C interrupts.

    Attributes:
      signal: signal.SIGTERM or signal.SIGINT once this process has been asked to stop, else None.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> StopRequest:
        # With several processes SIGTERM belongs to JAX, which tells it to the others.
        wanted = [signal.SIGINT] if jax.process_count() > 1 else [signal.SIGINT, signal.SIGTERM]
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._ask) for number in wanted}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def reached(self, step: int) -> bool:
        """Returns whether to stop after this step, the same on all processes; to be asked at every
        step.
        """
        if jax.process_count() == 1:
            return self.signal is not None
        from jax.experimental import multihost_utils

        if not multihost_utils.reached_preemption_sync_point(step):
            return False
        self.signal = self.signal or signal.SIGTERM
        return True

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            if jax.process_count() > 1:
                os.kill(os.getpid(), signal.SIGTERM)
