"""The folder RUN/checkpoints: steps, whole ones, the best one, quarantined ones."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

from input_pipeline.errors import UserError
from t2igan.workdir import manifest as manifests
from t2igan.workdir.manifest import Damaged

HEALTHY = "health/healthy"  # in a step's metrics: 1 or 0 where it was checked, absent else
_STEP = re.compile(r"step_(\d{8,})")


def checkpoints_folder(workdir: Path) -> Path:
    """Returns where the checkpoints of a run lie."""
    return Path(workdir) / "checkpoints"


def step_folder(workdir: Path, step: int) -> Path:
    """Returns where one checkpoint of a run lies."""
    return checkpoints_folder(workdir) / f"step_{step:08d}"


def list_steps(workdir: Path) -> list[int]:
    """Returns the finished steps of a run, oldest first; their files are not checked."""
    folder = checkpoints_folder(workdir)
    if not folder.is_dir():
        return []
    names = (_STEP.fullmatch(path.name) for path in folder.iterdir() if path.is_dir())
    return sorted(int(name[1]) for name in names if name)


def newest_whole(workdir: Path, items: Collection[str] = ()) -> tuple[int | None, dict[int, str]]:
    """Returns the newest step that is as it was written, and {newer step: its damage}.

    Args:
      workdir: folder of the run.
      items: what is needed of a step; all where empty.

    Returns:
      None as the step where the run has no checkpoint yet.

    Raises:
      UserError: there are checkpoints, but none is whole.
    """
    damage: dict[int, str] = {}
    for step in reversed(list_steps(workdir)):
        try:
            manifests.verify(step_folder(workdir, step), items=items)
        except Damaged as error:
            damage[step] = str(error)
        else:
            return step, damage
    if damage:
        step, why = next(iter(damage.items()))
        raise UserError(
            f"{checkpoints_folder(workdir)}: none of its {len(damage)} checkpoints is whole "
            f"(step {step}: {why}); put back a good copy, or train in another --workdir"
        )
    return None, {}


def best_step(workdir: Path) -> int:
    """Returns the step that is best by the metric its run ranks checkpoints by, else the latest.

    Raises:
      UserError: no checkpoint has that metric.
    """
    known = list(_manifests(workdir))
    name, mode = known[-1].best if known else ("the best metric", "min")
    if not name:  # the run ranks them by nothing
        return known[-1].step
    ranked = [(each.metrics[name], each.step) for each in known if name in each.metrics]
    if not ranked:
        raise UserError(f"{workdir}: no checkpoint has {name} with it; use the latest one")
    return (max if mode == "max" else min)(ranked, key=lambda pair: pair[0])[1]


def healthy_step(workdir: Path) -> int | None:
    """Returns the newest step that was found healthy when it was saved, None where none was."""
    healthy = [each.step for each in _manifests(workdir) if each.metrics.get(HEALTHY) == 1]
    return max(healthy, default=None)


def set_later_aside(workdir: Path, step: int) -> None:
    """Renames the steps after one to `unhealthy_step_N`, in place of those that are so called."""
    for later in reversed(list_steps(workdir)):
        if later > step:
            folder = step_folder(workdir, later)
            aside = folder.with_name(f"unhealthy_{folder.name}")
            shutil.rmtree(aside, ignore_errors=True)
            folder.rename(aside)


def _manifests(workdir: Path) -> Iterator[manifests.Manifest]:
    for step in list_steps(workdir):
        try:
            yield manifests.read(step_folder(workdir, step))
        except Damaged:
            continue


def set_aside(workdir: Path, step: int, why: str) -> None:
    """Renames a step that is not whole to `damaged_step_N`: neither used nor lost."""
    folder = step_folder(workdir, step)
    aside = folder.with_name(f"damaged_{folder.name}")
    while aside.exists():
        aside = aside.with_name(f"{aside.name}_again")
    folder.rename(aside)
    print(f"the checkpoint of step {step} is not whole ({why}): kept as {aside}", file=sys.stderr)


def set_half_steps_aside(workdir: Path) -> None:
    """Sets aside what a kill left of a step while it was being deleted."""
    for step in list_steps(workdir):
        try:
            manifests.verify(step_folder(workdir, step), quick=True)
        except Damaged as error:
            set_aside(workdir, step, str(error))
