"""Host batches -> arrays laid out over the mesh, put there while the step before is running."""

from __future__ import annotations

import contextlib
import queue
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from input_pipeline.errors import UserError

AXIS = "data"


def data_mesh(devices: Sequence[jax.Device] | None = None) -> jax.sharding.Mesh:
    """Returns a mesh with the one axis `data`.

    Args:
      devices: to lay batches over, of all processes; all that there are unless told.
    """
    return jax.sharding.Mesh(np.array(jax.devices() if devices is None else devices), (AXIS,))


def memory(device: jax.Device) -> dict[str, int]:
    """Returns a device's `bytes_limit`, `peak_bytes_in_use`, ...; {} where it does not tell."""
    return dict(device.memory_stats() or {}) if device.process_index == jax.process_index() else {}


def put(batch: Mapping[str, np.ndarray], mesh: jax.sharding.Mesh) -> dict[str, jax.Array]:
    """Global arrays, row by row over the devices, from this process's share of the rows.

    Args:
      batch: numbers or booleans [B / P, ...], P the number of processes; equal B everywhere.
      mesh: from `data_mesh`.

    Raises:
      UserError: the devices of this process cannot divide the rows.
    """
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(AXIS))
    local = len(mesh.local_devices)
    return {name: _put_rows(rows, sharding, local) for name, rows in batch.items()}


def _put_rows(rows: np.ndarray, sharding: jax.sharding.NamedSharding, local: int) -> jax.Array:
    if not len(rows) or len(rows) % local:
        total = sharding.mesh.size
        raise UserError(
            f"a batch of {len(rows) * total // local} rows cannot be divided over {total} devices: "
            f"choose a batch_size that is a multiple of {total}"
        )
    # Told the shape, the processes need not ask each other for it.
    shape = (len(rows) // local * sharding.mesh.size, *rows.shape[1:])
    return jax.make_array_from_process_local_data(sharding, rows, shape)


class Prefetch(Iterator[dict[str, jax.Array]]):
    """Iterator of device batches; `prefetch` makes it."""

    def __init__(self, batches: Iterator[Any], mesh: jax.sharding.Mesh, ahead: int) -> None:
        self._ready: queue.Queue[Any] = queue.Queue(maxsize=ahead)
        stop = threading.Event()
        # The thread has no reference to this object, which so ends it when it is dropped, or when
        # the interpreter exits: a thread that JAX is busy in must not outlive it.
        thread = threading.Thread(
            target=_work, args=(batches, mesh, self._ready, stop), name="prefetch", daemon=True
        )
        self._finish = weakref.finalize(self, _finish, thread, self._ready, stop)
        self._end: BaseException | None = None
        thread.start()

    def __iter__(self) -> Prefetch:
        return self

    def __next__(self) -> dict[str, jax.Array]:
        """The next batch; an exception of the source or of `put` is raised here, in its turn."""
        if self._end is None and not self._finish.alive:
            self._end = StopIteration()
        if self._end is not None:
            raise self._end
        batch, self._end = self._ready.get()
        if self._end is not None:
            raise self._end
        return batch

    def close(self) -> None:
        """Ends the thread, once the batch it is at is made. The source is left as it is."""
        self._finish()

    def __enter__(self) -> Prefetch:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def prefetch(
    batches: Iterator[Mapping[str, np.ndarray]], mesh: jax.sharding.Mesh, ahead: int = 2
) -> Prefetch:
    """Returns the same batches on the devices, up to `ahead` of them before they are asked for.

    Close it, or use it in a `with` block, before the source is used again.

    Args:
      batches: host batches, as `put` takes them.
      mesh: from `data_mesh`.
      ahead: batches held on the devices, >= 1.
    """
    if ahead < 1:
        raise UserError(f"ahead is {ahead}; a batch at least has to be ready: choose 1 or more")
    return Prefetch(batches, mesh, ahead)


def _work(
    batches: Iterator[Any], mesh: jax.sharding.Mesh, ready: queue.Queue[Any], stop: threading.Event
) -> None:
    """Puts (batch, None), and at the end (None, what ended it)."""
    end: BaseException = StopIteration()
    try:
        for batch in batches:
            if not _offer(ready, (put(batch, mesh), None), stop):
                return
    except BaseException as error:
        end = error
    _offer(ready, (None, end), stop)


def _offer(ready: queue.Queue[Any], item: Any, stop: threading.Event) -> bool:
    """Whether the item was taken, before the stop."""
    while not stop.is_set():
        with contextlib.suppress(queue.Full):
            ready.put(item, timeout=0.1)
            return True
    return False


def _finish(thread: threading.Thread, ready: queue.Queue[Any], stop: threading.Event) -> None:
    stop.set()
    with contextlib.suppress(queue.Empty):
        while True:
            ready.get_nowait()  # wakes the thread where it waits for room
    if thread is not threading.current_thread():
        thread.join()
