"""Search over ranges: values suggested at random, or where earlier trials were good (TPE).

Optuna suggests the values and keeps the journal, which several machines may share: a file in the
sweep's folder, or objects in its bucket. What is suggested depends on a trial's number and on what
was known then, and not on the machine.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from input_pipeline.errors import UserError
from t2igan.runtime import paths
from t2igan.sweep.ranges import Choice, Range

if TYPE_CHECKING:
    import optuna

    from t2igan.sweep.trials import Trial

JOURNAL = "search"  # beside the runs: search.journal, or search/ in a bucket
Space = Mapping[str, Range | Choice]


class Search:
    """The trials of a sweep over ranges.

    Attributes:
      size: how many there are to be.
    """

    def __init__(
        self,
        workdir: str,
        space: Space,
        make: Callable[[int, dict[str, Any]], Trial],
        *,
        size: int,
        method: str,
        mode: str,
        seed: int,
    ) -> None:
        """Begins the search, or joins the one that is in the folder.

        Args:
          workdir: folder or URL of the sweep.
          space: a range of each field, by dotted name.
          make: from a number and its values, the trial.
          size: trials to suggest, those of other machines included.
          method: "tpe" (Bergstra et al. 2011) or "random".
          mode: whether "min" or "max" of the metric is best.
          seed: of the values.

        Raises:
          UserError: Optuna is missing, or the folder has a search over other ranges.
        """
        self.size = size
        self._space, self._make = space, make
        self._method, self._seed = method, seed
        self._trials: dict[int, Trial] = {}
        self._ended: set[int] = set()
        self._study = _open(workdir, "minimize" if mode == "min" else "maximize")
        self._check_space()

    def trials(self) -> list[Trial]:
        """Returns those suggested so far, on any machine, in the order of their numbers."""
        for known in self._study.get_trials(deepcopy=False):
            # One that another machine is asking for at this moment lacks values.
            if known.number < self.size and known.params.keys() == self._space.keys():
                if known.number not in self._trials:
                    self._trials[known.number] = self._make(known.number, dict(known.params))
                if known.state.is_finished():
                    self._ended.add(known.number)
        return [self._trials[number] for number in sorted(self._trials)]

    def ask(self) -> Trial | None:
        """Returns a new trial, or None when there are as many as there are to be."""
        if len(self._study.get_trials(deepcopy=False)) >= self.size:
            return None
        asked = self._study.ask()
        if asked.number >= self.size:  # another machine was faster
            self._study.tell(asked, state=_state("FAIL"))
            return None
        self._study.sampler = _sampler(self._method, self._seed * 1_000_003 + asked.number)
        values = {name: _suggest(asked, name, space) for name, space in self._space.items()}
        self._trials[asked.number] = self._make(asked.number, values)
        return self._trials[asked.number]

    def tell(self, trial: Trial, value: float | None) -> None:
        """Records how good a trial was, once.

        Args:
          trial: one of `trials`, which will not be trained any more.
          value: of the metric, or None where it has none.
        """
        number = next(n for n, known in self._trials.items() if known.name == trial.name)
        if number in self._ended:
            return
        self._ended.add(number)
        if value is None or not math.isfinite(value):
            self._study.tell(number, state=_state("FAIL"), skip_if_finished=True)
        else:
            self._study.tell(number, value, skip_if_finished=True)

    def _check_space(self) -> None:
        wanted = json.dumps({name: repr(space) for name, space in self._space.items()})
        known = self._study.user_attrs.get("space")
        if known is None:
            self._study.set_user_attr("space", wanted)
        elif known != wanted:
            raise UserError(
                "the sweep in this folder searches other ranges; give another --workdir, or the "
                f"ranges it began with: {', '.join(json.loads(known).values())}"
            )


def _open(workdir: str, direction: Literal["minimize", "maximize"]) -> optuna.Study:
    try:
        import optuna
    except ImportError as error:
        raise UserError("a sweep over ranges needs Optuna: pip install t2igan[search]") from error
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    journal: optuna.storages.journal.BaseJournalBackend
    if paths.is_url(workdir):
        from t2igan.sweep.bucket_journal import BucketJournal

        journal = BucketJournal(paths.join(workdir, JOURNAL))
    else:
        file = paths.join(workdir, JOURNAL + ".journal")
        # Network file systems know exclusive creation, and not all of them links or locks.
        journal = JournalFileBackend(file, lock_obj=JournalFileOpenLock(file))
    study = optuna.create_study(
        storage=JournalStorage(journal),
        study_name="sweep",
        direction=direction,
        load_if_exists=True,
    )
    if study.direction.name.lower() != direction:
        raise UserError(
            f"the sweep in this folder was begun to {study.direction.name.lower()} its metric; "
            "give another --workdir, or the --mode it began with"
        )
    return study


def _sampler(method: str, seed: int) -> Any:
    from optuna.samplers import RandomSampler, TPESampler

    seed %= 2**32
    return RandomSampler(seed) if method == "random" else TPESampler(seed=seed, constant_liar=True)


def _suggest(asked: optuna.Trial, name: str, space: Range | Choice) -> Any:
    if isinstance(space, Choice):
        return asked.suggest_categorical(name, space.values)
    if space.is_whole:
        return asked.suggest_int(
            name, int(space.low), int(space.high), log=space.log, step=int(space.step or 1)
        )
    return asked.suggest_float(name, space.low, space.high, log=space.log, step=space.step)


def _state(name: str) -> Any:
    from optuna.trial import TrialState

    return TrialState[name]
