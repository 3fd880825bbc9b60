"""The trials of a sweep: what a config's `sweep(add)` adds, each checked and named."""

from __future__ import annotations

import dataclasses
import inspect
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from input_pipeline.errors import UserError

if TYPE_CHECKING:
    from ml_collections import ConfigDict

FINISHED = "finished.json"
# Which checkpoint is called the best is no part of what was trained; its default has changed.
_RANKING = frozenset({"checkpoint.best_metric", "checkpoint.best_mode"})


@dataclasses.dataclass(frozen=True)
class Trial:
    """One run of a sweep.

    Attributes:
      name: of its folder, such as `trial_000_seed-1`.
      overrides: fields that set it apart, by dotted name.
      config: the whole config.
      workdir: its run folder.
      flags: the words after `t2igan train`.
    """

    name: str
    overrides: dict[str, Any]
    config: ConfigDict
    workdir: Path
    flags: tuple[str, ...]

    @property
    def finished(self) -> bool:
        """Whether this very config was trained to its end; what is damaged was not."""
        from t2igan.config.compare import changes
        from t2igan.config.record import read

        marker = self.workdir / FINISHED
        try:
            return marker.is_file() and not changes(read(marker), self.config).keys() - _RANKING
        except UserError:
            return False

    def mark_finished(self) -> None:
        """Makes `finished` true."""
        from t2igan.config.record import to_json

        self.workdir.mkdir(parents=True, exist_ok=True)
        partial = self.workdir / (FINISHED + ".partial")
        partial.write_text(to_json(self.config))
        os.replace(partial, self.workdir / FINISHED)


def find_trials(config_flags: Sequence[str], workdir: Path) -> list[Trial]:
    """Returns the sweep's trials, each with its config checked before any is run.

    A `sweep(add, arg)` is given ARG, as `get_config(arg)` is.

    Args:
      config_flags: `--config=FILE.py[:ARG]` and overrides that hold for all trials.
      workdir: folder of their run folders.

    Raises:
      UserError: no `sweep` in the file, no trials, a trial with an unknown field or a wrong type,
        two trials alike.
    """
    from t2igan.config.files import load_module, split_argument
    from t2igan.config.override import load, split_files

    files, _ = split_files(config_flags)
    if not files:
        raise UserError("no experiment given: add --config=configs/NAME.py with a sweep(add)")
    path, arg = split_argument(files[-1].partition("=")[2])
    sweep = getattr(load_module(path), "sweep", None)
    if not callable(sweep):
        raise UserError(f"--config={path} has no sweep(add); write one that calls add(**overrides)")
    drawn: list[dict[str, Any]] = []
    takes_arg = arg is not None and len(inspect.signature(sweep).parameters) > 1
    try:
        sweep(lambda **overrides: drawn.append(overrides), *([arg] if takes_arg else []))
    except Exception as error:
        raise UserError(f"--config={path}: sweep(add): {type(error).__name__}: {error}") from error
    if not drawn:
        raise UserError(f"--config={path}: its sweep(add) adds no trial")
    trials = []
    for number, overrides in enumerate(drawn):
        name = trial_name(number, overrides)
        flags = (*config_flags, *(_as_flag(key, value) for key, value in overrides.items()))
        run = workdir / name
        trials.append(Trial(name, overrides, load(flags), run, (*flags, f"--workdir={run}")))
    _refuse_twins(trials)
    return trials


def trial_name(number: int, overrides: dict[str, Any]) -> str:
    """Returns a folder name that says what sets the trial apart, safe on any file system."""
    parts = [f"{key.rpartition('.')[2]}-{value}" for key, value in overrides.items()]
    slug = re.sub(r"[^A-Za-z0-9._-]+", "_", "_".join(parts))[:80].strip("._-")
    return f"trial_{number:03d}_{slug}".rstrip("_")


def _as_flag(key: str, value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"--config.{key}={text}"


def _refuse_twins(trials: Sequence[Trial]) -> None:
    from t2igan.config.record import to_json

    seen: dict[str, str] = {}
    for trial in trials:
        twin = seen.setdefault(to_json(trial.config), trial.name)
        if twin != trial.name:
            raise UserError(f"{trial.name} is the same config as {twin}: change one of them")
