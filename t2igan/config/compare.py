"""Two configs compared, and whether a run made with one may resume with the other."""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict

from input_pipeline.errors import UserError
from t2igan.config.files import table
from t2igan.config.record import fields

ABSENT = "(absent)"
_LENGTH = {"train.epochs", "train.steps"}


def differences(old: ConfigDict, new: ConfigDict) -> dict[str, tuple[Any, Any]]:
    """Returns {dotted name: (old value, new value)} of fields that differ, or `ABSENT`."""
    before, after = fields(old), fields(new)
    return {
        name: (before.get(name, ABSENT), after.get(name, ABSENT))
        for name in before | after
        if before.get(name, ABSENT) != after.get(name, ABSENT)
    }


def changes(old: ConfigDict, new: ConfigDict) -> dict[str, tuple[Any, Any]]:
    """Returns `differences` but those in fields that an older version did not have.

    What a run did before there was a field is what the field's default in configs/common.py does.

    Args:
      old: kept by a run, perhaps of an older version.
      new: of this version.
    """
    known = table()
    return {
        name: (before, after)
        for name, (before, after) in differences(old, new).items()
        if before != ABSENT or name not in known or after != known[name].default
    }


def free_on_resume(config: ConfigDict) -> set[str]:
    """Returns the fields that may differ when a run resumes with this config."""
    free = {name for name, field in table().items() if field.resume}
    if config.optimizer.schedule != "constant":
        free -= _LENGTH  # the learning rate falls to the last step: another length, other steps
    return free


def check_resumes(old: ConfigDict, new: ConfigDict, where: str) -> None:
    """Refuses to resume a run with another config.

    Args:
      old: the run's own.
      new: what is asked for now.
      where: the run's folder.

    Raises:
      UserError: names what differs.
    """
    free = free_on_resume(new)
    changed = {name: values for name, values in changes(old, new).items() if name not in free}
    if changed:
        listed = ", ".join(
            f"{name} is {before!r} there, {after!r} here"
            for name, (before, after) in changed.items()
        )
        raise UserError(
            f"{where} holds a run made with another config: {listed}; "
            "give those values, or another --workdir"
        )
