"""The trials of a sweep: what a config's `sweep(add)` adds, each checked and named."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from input_pipeline.errors import UserError
from input_pipeline.files import is_number, last_line, parse_lines
from t2igan.runtime import paths
from t2igan.sweep.ranges import Choice, Range

if TYPE_CHECKING:
    from ml_collections import ConfigDict

FINISHED = "finished.json"
FAILED = "failed.txt"
# Which checkpoint is called the best is no part of what was trained; its default has changed.
_RANKING = frozenset({"checkpoint.best_metric", "checkpoint.best_mode"})
_METRICS = ("metrics.jsonl", "evaluation.jsonl")


@dataclasses.dataclass(frozen=True)
class Trial:
    """One run of a sweep.

    Attributes:
      name: of its folder, such as `trial_000_seed-1`.
      overrides: fields that set it apart, by dotted name.
      config: the whole config.
      workdir: its run folder, which may be in a bucket.
      flags: the words after `t2igan train`.
    """

    name: str
    overrides: dict[str, Any]
    config: ConfigDict
    workdir: str
    flags: tuple[str, ...]

    @property
    def finished(self) -> bool:
        """Whether this very config was trained to its end; what is damaged was not."""
        from t2igan.config.compare import changes
        from t2igan.config.record import from_json

        text = paths.read_bytes(self._file(FINISHED))
        try:
            if text is None:
                return False
            trained = from_json(text.decode(), self._file(FINISHED))
            return not changes(trained, self.config).keys() - _RANKING
        except (UserError, UnicodeDecodeError):
            return False

    def mark_finished(self) -> None:
        """Makes `finished` true."""
        from t2igan.config.record import to_json

        paths.write_bytes(self._file(FINISHED), to_json(self.config).encode())

    @property
    def failed(self) -> bool:
        """Whether it ended with an error, and was not begun again since."""
        return paths.read_bytes(self._file(FAILED)) is not None

    def mark_failed(self, why: str) -> None:
        """Makes `failed` true."""
        paths.write_bytes(self._file(FAILED), (why + "\n").encode())

    def mark_begun(self) -> None:
        """Makes `failed` false."""
        if self.failed:
            paths.remove(self._file(FAILED))

    def logged(self) -> list[dict[str, Any]]:
        """Returns the lines that it has logged and that were measured of it, those with a step."""
        lines = []
        for name in _METRICS:
            text = (paths.read_bytes(self._file(name)) or b"").decode(errors="replace")
            lines += parse_lines(text.splitlines())
        return [line for line in lines if _is_step(line.get("step"))]

    def last_step(self) -> int:
        """Returns the step last logged; one that somebody stopped ends well, but before its end."""
        if paths.is_url(self.workdir):
            steps = [line["step"] for line in self.logged()]
        else:
            steps = [last_line(Path(self._file("metrics.jsonl"))).get("step")]
        return max((0, *filter(_is_step, steps)))

    def _file(self, name: str) -> str:
        return paths.join(self.workdir, name)


def added(config_flags: Sequence[str]) -> list[dict[str, Any]]:
    """Returns what the config's `sweep(add)` adds: by dotted name a value, a range or a choice.

    A `sweep(add, arg)` is given ARG, as `get_config(arg)` is.

    Args:
      config_flags: `--config=FILE.py[:ARG]` and overrides that hold for all trials.

    Raises:
      UserError: no `sweep` in the file, or it adds nothing.
    """
    from t2igan.config.files import load_module, split_argument
    from t2igan.config.override import split_files

    files, _ = split_files(config_flags)
    if not files:
        raise UserError("no experiment given: add --config=configs/NAME.py with a sweep(add)")
    path, arg = split_argument(files[-1].partition("=")[2])
    sweep = getattr(load_module(path), "sweep", None)
    if not callable(sweep):
        raise UserError(f"--config={path} has no sweep(add); write one that calls add(**overrides)")
    result: list[dict[str, Any]] = []
    takes_arg = arg is not None and len(inspect.signature(sweep).parameters) > 1
    try:
        sweep(lambda **overrides: result.append(overrides), *([arg] if takes_arg else []))
    except Exception as error:
        raise UserError(f"--config={path}: sweep(add): {type(error).__name__}: {error}") from error
    if not result:
        raise UserError(f"--config={path}: its sweep(add) adds no trial")
    return result


def is_search(overrides: dict[str, Any]) -> bool:
    """Returns whether some of what an `add` was given is to be searched."""
    return any(isinstance(value, Range | Choice) for value in overrides.values())


def find_trials(config_flags: Sequence[str], workdir: str) -> list[Trial]:
    """Returns the trials of a sweep without ranges, each with its config checked.

    Args:
      config_flags: see `added`.
      workdir: folder or URL of their run folders.

    Raises:
      UserError: see `added`; a trial with an unknown field or a wrong type, two trials alike.
    """
    trials = [
        make_trial(config_flags, workdir, trial_name(number, overrides), overrides)
        for number, overrides in enumerate(added(config_flags))
    ]
    _refuse_twins(trials)
    return trials


def as_space(overrides: dict[str, Any]) -> dict[str, Range | Choice]:
    """Returns the ranges of an `add`; a single value is none.

    Raises:
      UserError: a value is no range.
    """
    for name, value in overrides.items():
        if not isinstance(value, Range | Choice):
            raise UserError(
                f"sweep(add): {name}={value!r} is no range; give it as --config.{name}={value}"
            )
    return overrides


def maker(
    config_flags: Sequence[str], workdir: str, space: dict[str, Range | Choice]
) -> Callable[[int, dict[str, Any]], Trial]:
    """Returns what makes a trial of its number and values; both ends of each range are tried first.

    Raises:
      UserError: see `make_trial`.
    """

    def make(number: int, values: dict[str, Any]) -> Trial:
        short = {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in values.items()}
        return make_trial(config_flags, workdir, trial_name(number, short), values)

    for end in ("low", "high"):
        make(0, {n: getattr(s, end) for n, s in space.items() if isinstance(s, Range)})
    for name, choice in space.items():
        for value in choice.values if isinstance(choice, Choice) else ():
            make(0, {name: value})
    return make


def make_trial(
    config_flags: Sequence[str], workdir: str, name: str, overrides: dict[str, Any]
) -> Trial:
    """Returns a trial, its config checked.

    Raises:
      UserError: a field is unknown, or a value has the wrong type or is out of range.
    """
    from t2igan.config import fields
    from t2igan.config.override import load

    flags = (*config_flags, *(_as_flag(key, value) for key, value in overrides.items()))
    run = paths.join(str(workdir), name)
    config = load(flags)
    fields.check(config)
    if "recipe" in overrides:
        from t2igan.recipes import registry  # JAX's import is for those who need it

        registry.find(config.recipe)
    return Trial(name, overrides, config, run, (*flags, f"--workdir={run}"))


def trial_name(number: int, overrides: dict[str, Any]) -> str:
    """Returns a folder name that says what sets the trial apart, safe on any file system."""
    parts = [f"{key.rpartition('.')[2]}-{value}" for key, value in overrides.items()]
    slug = re.sub(r"[^A-Za-z0-9._-]+", "_", "_".join(parts))[:80].strip("._-")
    return f"trial_{number:03d}_{slug}".rstrip("_")


def _is_step(value: Any) -> bool:
    return isinstance(value, int) and is_number(value)


def _as_flag(key: str, value: Any) -> str:
    text = json.dumps(value) if isinstance(value, bool) else str(value)
    return f"--config.{key}={text}"


def _refuse_twins(trials: Sequence[Trial]) -> None:
    from t2igan.config.record import to_json

    seen: dict[str, str] = {}
    for trial in trials:
        twin = seen.setdefault(to_json(trial.config), trial.name)
        if twin != trial.name:
            raise UserError(f"{trial.name} is the same config as {twin}: change one of them")
