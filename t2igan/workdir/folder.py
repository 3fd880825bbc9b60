"""A run's folder: its config, compared on resume, and the lock of the one trainer."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from input_pipeline.errors import InUse, UserError
from input_pipeline.file_lock import locked
from t2igan.config import compare, record
from t2igan.runtime.multihost import from_first_process, is_first_process
from t2igan.workdir.checkpoint_dir import list_steps
from t2igan.workdir.mirror import mirror_of

if TYPE_CHECKING:
    from ml_collections import ConfigDict

CONFIG = "config.json"


@contextlib.contextmanager
def claimed(workdir: Path, config: ConfigDict) -> Iterator[None]:
    """Makes the run folder, or checks that the run in it is this one, and holds it for the block.

    Args:
      workdir: folder of the run; its parents are created.
      config: what is to be trained in it.

    Raises:
      UserError: another run is in the folder, or another process is training it.
    """
    with contextlib.ExitStack() as held:

        def claim() -> int:
            _make(workdir)
            mirror = mirror_of(workdir)
            held.enter_context(mirror.claimed() if mirror else _lock(workdir))
            check_resumes(workdir, config)
            return 0

        from_first_process(claim)
        yield


def read_config(workdir: Path) -> ConfigDict | None:
    """Returns the config of the run in a folder, None where there is no run.

    Raises:
      UserError: its config.json is damaged.
    """
    path = Path(workdir) / CONFIG
    return record.read(path) if path.is_file() else None


def keep_config(workdir: Path, config: ConfigDict) -> None:
    """Writes config.json, where it is not there yet or where fields differ that may."""
    path, text = workdir / CONFIG, record.to_json(config)
    if not is_first_process() or (path.is_file() and path.read_text() == text):
        return
    part = path.with_suffix(".part")
    part.write_text(text)
    os.replace(part, path)


def check_resumes(workdir: Path, config: ConfigDict) -> None:
    """Refuses a config that the run in the folder was not made with.

    A run without a checkpoint starts anew, with whatever config.

    Raises:
      UserError: names the fields that differ and may not.
    """
    old = read_config(workdir)
    if old is not None and list_steps(workdir):
        compare.check_resumes(old, config, str(workdir))


def _make(workdir: Path) -> None:
    if workdir.exists() and not workdir.is_dir():
        raise UserError(f"--workdir={workdir} is a file; give a folder, it is made if missing")
    if workdir.is_symlink() and not workdir.exists():
        raise UserError(
            f"--workdir={workdir} is a link to {os.readlink(workdir)}, which is missing"
        )
    workdir.mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def _lock(workdir: Path) -> Iterator[None]:
    """Holds the folder; the lock ends with the process, however it ends."""
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(locked(workdir, wait=False))
        except BlockingIOError as error:
            raise InUse(
                f"{workdir} {InUse.WORDS}; wait for it, stop it, or give another --workdir"
            ) from error
        except OSError:
            pass  # some network file systems have no locks
        yield
