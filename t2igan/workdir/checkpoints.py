"""Checkpoints: the last N, the best and the last healthy, written behind the training, checked
before they are used.

The only file that imports orbax. A step is a folder `checkpoints/step_00001000` with four items:
`state` (all of training), `generator` (all that sampling needs), `data` and `meta` (JSON). Its
manifest goes in before the folder gets its final name, so a kill leaves a whole step or none.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import logging
import math
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from input_pipeline.errors import UserError
from t2igan.runtime import trees as tree_shapes
from t2igan.runtime.multihost import from_first_process, is_first_process
from t2igan.workdir import manifest as manifests
from t2igan.workdir.checkpoint_dir import (
    best_step,
    checkpoints_folder,
    healthy_step,
    list_steps,
    newest_whole,
    set_aside,
    set_half_steps_aside,
    set_later_aside,
    step_folder,
)
from t2igan.workdir.mirror import mirror_of

ARRAY_ITEMS = ("state", "generator")
JSON_ITEMS = ("data", "meta")
_UNFINISHED = ".orbax-checkpoint-tmp"  # in the names that orbax gives to folders it fills
_DISK_FULL = ("No space left", "uota exceeded", "File too large", "RESOURCE_EXHAUSTED")


class Checkpoints:
    """The checkpoints of one run, as its training writes and resumes them.

    A context manager: leaving it waits for the save under way.
    """

    def __init__(
        self,
        workdir: Path,
        *,
        keep_latest: int = 3,
        keep_best: int = 1,
        best_metric: str = "",
        best_mode: str = "min",
    ) -> None:
        """Nothing is read or written yet.

        Args:
          workdir: folder of the run.
          keep_latest: newest steps to keep, >= 1.
          keep_best: steps to keep that were best by `best_metric`, >= 0.
          best_metric: a name among the `metrics` given to `save`; empty for none.
          best_mode: "min" or "max".

        Raises:
          UserError: one of these is out of its range.
        """
        if keep_latest < 1 or keep_best < 0 or best_mode not in ("min", "max"):
            raise UserError(
                f"checkpoint: keep_latest={keep_latest} (1 or more), keep_best={keep_best} (0 or "
                f"more), best_mode={best_mode!r} ('min' or 'max')"
            )
        self._workdir = Path(workdir).absolute()
        self._keep = (keep_latest, keep_best)
        self._best = (best_metric, best_mode)
        self._saving: tuple[int, dict[str, float]] = (0, {})
        self._manager: Any = None
        self._mirror = mirror_of(workdir)

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None:
            self.close()
        else:  # what went wrong first is what the user should read
            with contextlib.suppress(UserError):
                self.close()

    def steps(self) -> list[int]:
        """Returns the finished steps, oldest first; their files are not checked."""
        return list_steps(self._workdir)

    def save(
        self, step: int, items: Mapping[str, Any], metrics: Mapping[str, float] | None = None
    ) -> None:
        """Starts writing a step and returns; before that waits for the save under way.

        Args:
          step: of the checkpoint; where it is there already nothing is done.
          items: trees of arrays for ARRAY_ITEMS, JSON values for JSON_ITEMS.
          metrics: {name: value} that this step reached. Without a finite value of the best metric
            the step does not count among the best.

        Raises:
          UserError: the save under way or the start of this one failed, e.g. on a full disk.
        """
        args = _orbax().args
        self.wait()
        if step in self.steps():
            return
        if self._mirror is not None:
            if not is_first_process():
                return  # processes that share no disk: the first one writes what all have whole
            self._mirror.push()  # before older checkpoints go, the last one is in the bucket
            if jax.process_count() > 1:
                items = {
                    name: _to_numpy(tree) if name in ARRAY_ITEMS else tree
                    for name, tree in items.items()
                }
        finite = {name: float(v) for name, v in (metrics or {}).items() if math.isfinite(v)}
        ranked = {name: value for name, value in finite.items() if name == self._best[0]}
        wrapped = {
            name: (args.StandardSave if name in ARRAY_ITEMS else args.JsonSave)(tree)
            for name, tree in items.items()
        }
        self._saving = (step, finite)
        with self._explained():
            manager = self._opened()
            manager.save(step, args=args.Composite(**wrapped), metrics=ranked or None)

    def wait(self) -> None:
        """Waits for the save under way, if any.

        Raises:
          UserError: it failed; the steps before it are whole.
        """
        if self._manager is not None:
            with self._explained():
                self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits for the save under way and ends the threads; raises as `wait` does."""
        try:
            self.wait()
        finally:
            manager, self._manager = self._manager, None
            if manager is not None:
                manager.close()

    def restore_latest(self, targets: Mapping[str, Any]) -> tuple[int, dict[str, Any]] | None:
        """Returns the newest whole step and its items; None where the run has no step yet.

        Newer ones that are damaged are named on stderr and renamed to `damaged_step_N`.

        Args:
          targets: the items to read: trees of `jax.ShapeDtypeStruct` with a sharding, over any
            number of devices, for ARRAY_ITEMS; anything for JSON_ITEMS.

        Raises:
          UserError: there are steps but none is whole, or the step holds other shapes.
        """
        step = from_first_process(self._choose)
        if step < 0:
            return None
        folder = step_folder(self._workdir, step)
        if self._mirror is not None and not is_first_process():
            shutil.rmtree(folder, ignore_errors=True)
            self._mirror.fetch(folder)
        return step, {name: _restore(folder, name, target) for name, target in targets.items()}

    def return_to_healthy(self, why: str, *, or_start: bool) -> int:
        """Sets the steps after the newest that was found healthy aside; returns that one.

        Args:
          why: what is wrong with the newest, for the complaint.
          or_start: where none was, set them all aside and return 0.

        Raises:
          UserError: none was, and the start is not wanted; or the save under way failed.
        """
        self.close()  # orbax's manager would still list them
        if self._mirror is not None and is_first_process():
            self._mirror.push()  # the other processes read it there
        return from_first_process(lambda: self._set_unhealthy_aside(why, or_start))

    def _set_unhealthy_aside(self, why: str, or_start: bool) -> int:
        step = healthy_step(self._workdir)
        if step is None and not or_start:
            raise UserError(
                f"{why}; none of the checkpoints in {checkpoints_folder(self._workdir)} was found "
                "healthy when it was saved, so there is none to go back to; try lower learning "
                "rates (config.optimizer) in another --workdir"
            )
        set_later_aside(self._workdir, step or 0)
        return step or 0

    def _choose(self) -> int:
        step, damage = newest_whole(self._workdir)
        for newer, why in damage.items():
            set_aside(self._workdir, newer, why)
        return -1 if step is None else step

    def _opened(self) -> Any:
        """Orbax's manager, made for the first save, with half-deleted steps out of its way."""
        if self._manager is None:
            if self._mirror is None:
                from_first_process(lambda: set_half_steps_aside(self._workdir) or 0)
            folder = checkpoints_folder(self._workdir)
            healthy = _LastHealthy(self._workdir)
            alone = self._mirror is not None and jax.process_count() > 1
            self._manager = _make_manager(
                folder, self._keep, self._best, self._seal, healthy, alone=alone
            )
        return self._manager

    def _seal(self) -> None:
        """Writes the manifest; orbax calls it once all files are there, before the last rename."""
        step, metrics = self._saving
        final = step_folder(self._workdir, step)
        for folder in final.parent.glob(f"{final.name}*"):
            if folder == final or _UNFINISHED in folder.name:
                manifests.write(folder, step, metrics, self._best)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            full = any(words in str(error) for words in _DISK_FULL)
            why = "the disk is full" if full else str(error).split("\n")[0][:300]
            steps = self.steps()
            kept = f"that of step {steps[-1]} is kept" if steps else "there is none before it"
            raise UserError(
                f"{checkpoints_folder(self._workdir)}: the checkpoint of step {self._saving[0]} "
                f"could not be written: {why}; {kept}; make room and run the same command again"
            ) from error


def restore_item(workdir: Path, which: int | str, item: str) -> tuple[int, Any]:
    """Returns the step and one item of a run: a tree of numpy arrays, or a JSON value.

    Needs nothing of the training that wrote it, neither its devices nor its other items.

    Args:
      workdir: folder of the run.
      which: a step, "latest" (the newest whose item is whole) or "best".
      item: one of ARRAY_ITEMS and JSON_ITEMS.

    Raises:
      UserError: there is no such step, or its item is damaged.
    """
    steps = list_steps(workdir)
    if not steps:
        raise UserError(f"{workdir} has no checkpoint yet; train it first: t2igan train --workdir")
    if which == "latest":
        step, damage = newest_whole(workdir, {item, "meta"})  # without which none is of use
        for newer, why in damage.items():
            print(
                f"the checkpoint of step {newer} is not whole ({why}): passed over", file=sys.stderr
            )
    else:
        step = best_step(workdir) if which == "best" else which
    if step not in steps:
        raise UserError(f"{workdir} has no checkpoint of step {which}; it has {_listed(steps)}")
    folder = step_folder(workdir, step)
    try:
        manifests.verify(folder, items=[item])
    except manifests.Damaged as error:
        raise UserError(f"{folder} is damaged: {error}; other steps: {_listed(steps)}") from error
    return step, _restore(folder, item, None)


def _listed(steps: list[int]) -> str:
    return ", ".join(map(str, steps))


def _restore(folder: Path, item: str, target: Any) -> Any:
    path = (folder / item).absolute()  # orbax finds no metadata under a relative path
    try:
        return _read(path, item, target)
    except (UserError, jax.errors.JaxRuntimeError):
        raise
    except Exception as error:  # its files are as they were sealed; orbax raises what it likes
        why = "there is not enough memory" if _is_memory(error) else type(error).__name__
        raise UserError(
            f"{path} cannot be read ({why}: {str(error).strip().split(chr(10))[0][:200]}); other "
            f"steps: {_listed(list_steps(folder.parents[1]))}"
        ) from error


def _is_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


def _read(path: Path, item: str, target: Any) -> Any:
    ocp = _orbax()
    if item in JSON_ITEMS:
        with ocp.Checkpointer(ocp.JsonCheckpointHandler()) as reader:
            return reader.restore(path, args=ocp.args.JsonRestore())
    if target is None:
        with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
            known = reader.metadata(path).item_metadata.tree
            numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), known)
            return reader.restore(path, args=ocp.args.PyTreeRestore(restore_args=numpy))
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
        # Compared here: orbax complains at length, and leaves the reads it had begun.
        changed = tree_shapes.difference(reader.metadata(path).item_metadata.tree, target)
        if changed:
            raise UserError(
                f"{path} does not fit this model: {changed}; use the version that wrote it"
            )
        return reader.restore(path, args=ocp.args.StandardRestore(target))


@dataclasses.dataclass(frozen=True)
class _LastHealthy:
    """Orbax's policy that preserves the newest step found healthy: a rollback may want it."""

    workdir: Path

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        step = healthy_step(self.workdir)
        return [info.step == step for info in checkpoints]


def _to_numpy(tree: Any) -> Any:
    """This process's copy of arrays that every device holds whole."""
    return jax.tree.map(lambda x: np.asarray(x.addressable_data(0)), tree)


def _make_manager(
    folder: Path,
    keep: tuple[int, int],
    best: tuple[str, str],
    seal: Any,
    healthy: _LastHealthy,
    *,
    alone: bool,
) -> Any:
    ocp = _orbax()
    # Alone, this process waits for no other; orbax then makes no folder itself.
    processes = ocp.options.MultiprocessingOptions(
        primary_host=0, active_processes={0}, barrier_sync_key_prefix="first"
    )
    if alone:
        folder.mkdir(parents=True, exist_ok=True)
    policies = ocp.checkpoint_managers
    metric, mode = best
    by_metric = policies.BestN(
        get_metric_fn=lambda metrics: metrics[metric],
        reverse=mode == "min",
        n=keep[1],
        keep_checkpoints_without_metrics=False,
    )
    options = ocp.CheckpointManagerOptions(
        step_prefix="step",
        step_format_fixed_length=8,
        best_fn=lambda metrics: metrics[metric],
        best_mode=mode,
        preservation_policy=policies.AnyPreservationPolicy(
            [policies.LatestN(keep[0]), by_metric, healthy]
        ),
        save_decision_policy=policies.FixedIntervalPolicy(1),
        async_options=ocp.AsyncOptions(post_finalization_callback=seal),
        cleanup_tmp_directories=True,
        **({"multiprocessing_options": processes, "create": False} if alone else {}),
    )
    return ocp.CheckpointManager(folder, options=options, item_names=ARRAY_ITEMS + JSON_ITEMS)


def _orbax() -> Any:
    """Orbax, imported when first needed, and quiet: what fails reaches the user as one line."""
    import orbax.checkpoint

    logging.getLogger("absl").addFilter(_not_from_orbax)
    logging.getLogger("asyncio").addFilter(_waited_for)
    if sys.unraisablehook is not _without_late_writes:
        _hooks.append(sys.unraisablehook)
        sys.unraisablehook = _without_late_writes
        _use_monotonic_deadlines()
    return orbax.checkpoint


class _Monotonic:
    """The module `time` to orbax's waits, which measure deadlines by the wall clock.

    A machine that is suspended, or whose clock is set, in the middle of a save is no slow disk.
    """

    def __getattr__(self, name: str) -> Any:
        return time.monotonic if name == "time" else getattr(time, name)


def _use_monotonic_deadlines() -> None:
    for name in ("future", "signaling_client"):
        with contextlib.suppress(ImportError):  # another version may have it elsewhere
            module = importlib.import_module(f"orbax.checkpoint._src.futures.{name}")
            module.time = _Monotonic()  # type: ignore[attr-defined]


def _not_from_orbax(record: logging.LogRecord) -> bool:
    return "orbax" not in record.pathname or record.levelno < logging.WARNING


def _waited_for(record: logging.LogRecord) -> bool:
    """Passes over what the other writes of a failed save say: the first failure was said."""
    return "never retrieved" not in record.getMessage()


_hooks: list[Any] = []


def _without_late_writes(unraisable: Any) -> None:
    """Passes over what a failed save's other writes say when nobody waits for them any more."""
    if str(unraisable.exc_value) != "Event loop is closed":
        _hooks[-1](unraisable)
