"""Event files that TensorBoard reads; needs the extra `tensorboard`, never TensorFlow.

tensorboardX makes the messages; its own writer is not used, as its thread ends in tracebacks
where the disk is full.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from t2igan.config.record import fields

if TYPE_CHECKING:
    from ml_collections import ConfigDict


class TensorBoardWriter:
    """Writes one event file into RUN/tensorboard.

    It is a copy of what metrics.jsonl and samples/ hold: where it cannot be written, it is not.
    """

    def __init__(
        self, workdir: Path, start_step: int = 0, config: ConfigDict | None = None
    ) -> None:
        """Opens the file; TensorBoard is told to forget the steps after `start_step`.

        Args:
          workdir: folder of the run.
          start_step: steps done before.
          config: shown as a text, one field a line.

        Raises:
          ImportError: tensorboardX is not installed.
        """
        from tensorboardX import record_writer, summary
        from tensorboardX.proto import event_pb2

        self._summary, self._events = summary, event_pb2
        self._checksum = record_writer.masked_crc32c
        folder = Path(workdir) / "tensorboard"
        folder.mkdir(parents=True, exist_ok=True)
        again = start_step > 0 or any(folder.iterdir())  # from its start too
        name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}"
        self._file = (folder / name).open("ab", buffering=0)
        self._write(0, file_version="brain.Event:2")
        if again:
            restart = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._write(start_step + 1, session_log=restart)
        if config is not None:
            lines = [f"    {name} = {value!r}" for name, value in fields(config).items()]
            self._write(start_step, summary=summary.text("config", "\n".join(lines)))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Adds one scalar a name."""
        for name, value in values.items():
            self._write(step, summary=self._summary.scalar(name, value))

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """Adds an image, uint8 [H, W, 3], under its name."""
        self._write(step, summary=self._summary.image(name, image, dataformats="HWC"))

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _write(self, step: int, **content: Any) -> None:
        """Appends an event as a TFRecord: length, its checksum, data, its checksum."""
        data = self._events.Event(wall_time=time.time(), step=step, **content).SerializeToString()
        length = struct.pack("<Q", len(data))
        checksums = [struct.pack("<I", self._checksum(part)) for part in (length, data)]
        with contextlib.suppress(OSError):
            self._file.write(b"".join([length, checksums[0], data, checksums[1]]))
