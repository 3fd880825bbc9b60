"""SIGTERM and Ctrl-C as a request to stop after the current step, on all processes."""

from __future__ import annotations

import _thread
import importlib
import os
import signal
import sys
import threading
from types import FrameType


class _Start:
    """A Ctrl-C before the first step, which whatever ran at that moment may have swallowed."""

    interrupted = False

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        self.interrupted = True
        raise KeyboardInterrupt


_start = _Start()


def remember_ctrl_c() -> None:
    """From now on a Ctrl-C is remembered beside being raised; before JAX is imported.

    An exception that is raised in a destructor or a callback, e.g. in JAX's at a garbage
    collection, would be printed and go no further: it is raised again.
    """
    _start.interrupted = False
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return  # ignored, e.g. by nohup, or somebody else's
    signal.signal(signal.SIGINT, _start.interrupt)
    hook = sys.unraisablehook

    def quiet(unraisable: sys.UnraisableHookArgs) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            # Once more, for whoever runs then: from this hook it would be raised here, and printed.
            threading.Timer(0.01, _thread.interrupt_main).start()
        else:
            hook(unraisable)

    sys.unraisablehook = quiet


def import_whole(module: str) -> None:
    """Imports a module; a Ctrl-C waits until it is done.

    An exception at the wrong moment of the import of a compiled module crashes the process.

    Raises:
      KeyboardInterrupt: at the end.
    """
    came: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    is_ours = threading.current_thread() is threading.main_thread() and before in (
        signal.default_int_handler,
        _start.interrupt,
    )
    if is_ours:
        signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        importlib.import_module(module)
    finally:
        if is_ours:
            signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt


def raise_remembered_ctrl_c() -> None:
    """Raises KeyboardInterrupt if there was a Ctrl-C since `remember_ctrl_c`."""
    if _start.interrupted:
        raise KeyboardInterrupt


class StopRequest:
    """Catches SIGTERM and the first Ctrl-C within its `with` block; a second Ctrl-C interrupts.

    Attributes:
      signal: signal.SIGTERM or signal.SIGINT once this process has been asked to stop, else None.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> StopRequest:
        import jax

        # With several processes SIGTERM belongs to JAX, which tells it to the others.
        wanted = [signal.SIGINT] if jax.process_count() > 1 else [signal.SIGINT, signal.SIGTERM]
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._ask) for number in wanted}
        if _start.interrupted:
            self.__exit__()
            raise KeyboardInterrupt
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def reached(self, step: int) -> bool:
        """Returns whether to stop after this step, the same on all processes; to be asked at every
        step.
        """
        import jax

        if jax.process_count() == 1:
            return self.signal is not None
        from jax.experimental import multihost_utils

        if not multihost_utils.reached_preemption_sync_point(step):
            return False
        self.signal = self.signal or signal.SIGTERM
        return True

    def _ask(self, number: int, frame: FrameType | None) -> None:
        import jax

        self.signal = signal.Signals(number)
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            if jax.process_count() > 1:
                os.kill(os.getpid(), signal.SIGTERM)
