"""The mode-collapse monitor: checks that fail for long are warnings, or roll the run back."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Mapping
from typing import Any

from tqdm import tqdm

from input_pipeline.errors import UserError
from t2igan.runtime.multihost import from_first_process, is_first_process
from t2igan.workdir.checkpoint_dir import HEALTHY


class Unhealthy(UserError):
    """The run cannot go on well from here; with `config.rollback` it goes back.

    Attributes:
      found: what is wrong, with the step.
    """

    def __init__(self, found: str, advice: str = "") -> None:
        super().__init__(found + advice)
        self.found = found


@dataclasses.dataclass(frozen=True)
class Check:
    """A number that says that something is gone.

    Attributes:
      metric: the number.
      field: of `config.health`, its threshold; 0 switches the symptom off.
      below: whether it is the values below the threshold that are bad, or those above.
      meaning: for the user.
      advice: what to try.
      is_learned: whether a new network shows it, and training takes it away.
    """

    metric: str
    field: str
    below: bool
    meaning: str
    advice: str
    is_learned: bool = False

    def shown_by(self, values: Mapping[str, float], options: Any) -> bool:
        """Returns whether the values show it; what is no number does."""
        value, threshold = values[self.metric], options[self.field]
        if not threshold:
            return False
        return not (value >= threshold if self.below else value <= threshold)


CHECKS = (
    Check(
        "health/diversity",
        "min_diversity",
        True,
        "the images of one caption are all alike",
        "lower learning rates (config.optimizer) or another config.recipe",
    ),
    Check(
        "health/text_share",
        "min_text_share",
        True,
        "the images do not depend on their captions",
        "lower learning rates (config.optimizer) or a higher config.loss.mismatch_weight",
        is_learned=True,
    ),
    Check(
        "health/logit_gap/real",
        "max_logit_gap",
        False,
        "the discriminator's logits have run apart, and its loss is flat there",
        "a lower config.optimizer.d_learning_rate, a penalty (config.loss.r1_weight) or "
        "config.augment.policy",
    ),
)


@dataclasses.dataclass
class Watch:
    """What the checks of a run have found so far.

    Kept in its checkpoints: a resumed run decides as one that was never stopped.

    Attributes:
      since: steps done when the watch began; 0 where it has seen the whole run.
      learned: metrics that have been good at a check: what was never there cannot be gone.
      in_a_row: {metric: checks in a row that were bad}, those of the symptoms that show.
      rollbacks: done so far.
      scale: what both learning rates are multiplied by.
    """

    since: int = 0
    learned: list[str] = dataclasses.field(default_factory=list)
    in_a_row: dict[str, int] = dataclasses.field(default_factory=dict)
    rollbacks: int = 0
    scale: float = 1.0

    def check(self, step: int, values: Mapping[str, float], config: Any) -> dict[str, float]:
        """Returns the values with `health/healthy`; the same decision on all processes.

        A symptom that has lasted for `config.health.patience` checks is said once, on stderr.

        Args:
          step: steps done.
          values: see `health.measures`.
          config: of the experiment, with `health` and `rollback`.

        Raises:
          Unhealthy: it has lasted, and a rollback is left.
        """
        shown = _on_all_processes([each.shown_by(values, config.health) for each in CHECKS])
        bad = self._counted(step, shown, config.health.grace)
        self.in_a_row = {each.metric: self.in_a_row.get(each.metric, 0) + 1 for each in bad}
        for symptom in bad:
            count = self.in_a_row[symptom.metric]
            found = _found(step, symptom, values, config.health, count)
            if count >= config.health.patience and self.may_roll_back(config):
                raise Unhealthy(found)
            if count == config.health.patience:
                say(f"{found}; try {symptom.advice}{_offer(config)}")
        return {**values, HEALTHY: float(not bad)}

    def _counted(self, step: int, shown: list[bool], grace: int) -> list[Check]:
        """The symptoms that show, those of things yet to be learned aside."""
        pairs = list(zip(CHECKS, shown, strict=True))
        good = {symptom.metric for symptom, is_shown in pairs if not is_shown}
        self.learned = sorted(good.union(self.learned))

        def is_expected(symptom: Check) -> bool:
            return not symptom.is_learned or symptom.metric in self.learned or step > grace

        return [symptom for symptom, is_shown in pairs if is_shown and is_expected(symptom)]

    def may_roll_back(self, config: Any) -> bool:
        """Returns whether one of the rollbacks that the config allows is left."""
        return self.rollbacks < config.rollback.times

    def rolled_back(self, to: Watch, factor: float) -> Watch:
        """Returns the watch after one more rollback, which lowers the rates by a factor.

        Args:
          to: of the checkpoint that the run returns to.
          factor: above 0, up to 1.
        """
        scale = self.scale * factor
        return dataclasses.replace(to, rollbacks=self.rollbacks + 1, scale=scale)


def say(text: str) -> None:
    """Prints a line on stderr, on process 0, past the progress bar."""
    if is_first_process():
        tqdm.write(text, file=sys.stderr)


def _found(step: int, symptom: Check, values: Mapping[str, float], options: Any, count: int) -> str:
    value, threshold = values[symptom.metric], options[symptom.field]
    relation = "below" if symptom.below else "above"
    shown = f"{value:.3g}" if math.isfinite(value) else str(value)
    return (
        f"step {step}: {symptom.metric} is {shown}, {relation} config.health.{symptom.field}="
        f"{threshold:g} in {count} checks in a row: {symptom.meaning}"
    )


def _offer(config: Any) -> str:
    if config.rollback.times:
        return f"; all config.rollback.times={config.rollback.times} rollbacks are used"
    return ", or stop it and go back: the same command with --config.rollback.times=3"


def _on_all_processes(shown: list[bool]) -> list[bool]:
    """Process 0's answers: the others' arithmetic may round otherwise."""
    bits = from_first_process(lambda: sum(flag << place for place, flag in enumerate(shown)))
    return [bool(bits >> place & 1) for place in range(len(shown))]
