"""The trials of a sweep that are left to train, shared with whoever else works in its folder.

Nobody hands the trials out. Who trains one holds its claim, a lock that ends with the process;
files beside the run say that it finished or failed. A machine that dies leaves neither, and its
trial goes on elsewhere.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from input_pipeline.errors import InUse
from input_pipeline.file_lock import locked
from t2igan.runtime import paths
from t2igan.workdir import bucket_lock

if TYPE_CHECKING:
    from t2igan.sweep.comparison import Comparison
    from t2igan.sweep.search import Search
    from t2igan.sweep.trials import Trial

LOG = "log.txt"  # of a trial; its lock is the claim
_CLAIMS = "claims"  # of trials in a bucket, beside them


class Queue:
    """What is left to train.

    Attributes:
      failures: one line for each trial that failed here, by its name.
    """

    def __init__(
        self, fixed: list[Trial], search: Search | None = None, by: Comparison | None = None
    ) -> None:
        """Notes which trials have failed already: those are tried once more.

        Args:
          fixed: the trials of a sweep without ranges.
          search: of a sweep with them.
          by: how good a trial of the search is.
        """
        self.failures: dict[str, str] = {}
        self._fixed, self._search, self._by = fixed, search, by
        self._finished: set[str] = set()  # by anybody
        self._begun: set[str] = set()  # here
        self._elsewhere: set[str] = set()  # claimed by somebody else when last looked at
        self._claims: dict[str, contextlib.ExitStack] = {}
        self._to_retry = {trial.name for trial in self.trials() if trial.failed}

    def trials(self) -> list[Trial]:
        """Returns all trials that are known: of a search those suggested so far."""
        return self._search.trials() if self._search else self._fixed

    @property
    def size(self) -> int:
        """How many trials there are to be."""
        return self._search.size if self._search else len(self._fixed)

    def ended(self) -> int:
        """Returns how many trials have finished or failed, here or elsewhere."""
        return len(self._finished) + len(self.failures)

    def elsewhere(self) -> list[Trial]:
        """Returns those that other processes train, or trained when last looked at."""
        return [trial for trial in self.trials() if trial.name in self._elsewhere]

    def take(self) -> Trial | None:
        """Returns a trial to train now, which this process has claimed; None where there is none.

        Whether the claim of a trial in a bucket is that of a dead machine takes half a minute to
        see: those come last, and once.
        """
        claimed: list[Trial] = []
        for trial in self.trials():
            if self._is_open(trial):
                if self._claim(trial, wait=False):
                    return trial
                claimed.append(trial)
        if self._search:
            while suggested := self._search.ask():
                if self._claim(suggested, wait=False):  # else another machine saw it first
                    return suggested
        for trial in claimed:
            is_unsure = paths.is_url(trial.workdir) and trial.name not in self._elsewhere
            if is_unsure and self._claim(trial, wait=True):
                return trial
            self._elsewhere.add(trial.name)
        return None

    def finish(self, trial: Trial) -> None:
        """Notes that a trial was trained to its end here."""
        trial.mark_finished()
        self._note_finished(trial)
        self._release(trial)

    def fail(self, trial: Trial, why: str) -> None:
        """Notes that a trial failed here."""
        trial.mark_failed(why)
        self.failures[trial.name] = why
        if self._search:
            self._search.tell(trial, None)
        self._release(trial)

    def refuse(self, trial: Trial) -> None:
        """Notes that a process trains it that no sweep looks after."""
        self._elsewhere.add(trial.name)
        self._release(trial)

    @contextlib.contextmanager
    def closing(self) -> Iterator[None]:
        """Gives up all claims at the block's end."""
        try:
            yield
        finally:
            for claim in self._claims.values():
                claim.close()

    def _is_open(self, trial: Trial) -> bool:
        if trial.name in self._begun | self._finished:
            return False
        if trial.finished:
            self._note_finished(trial)
            return False
        return trial.name in self._to_retry or not trial.failed

    def _claim(self, trial: Trial, wait: bool) -> bool:
        """Whether the trial is now this process's, and still to be trained."""
        claim = contextlib.ExitStack()
        try:
            if not paths.is_url(trial.workdir):
                folder = Path(trial.workdir)
                folder.mkdir(parents=True, exist_ok=True)
                claim.enter_context(locked(folder / LOG, wait=False))
            elif wait or paths.read_bytes(paths.join(_claim_of(trial), bucket_lock.NAME)) is None:
                claim.enter_context(bucket_lock.BucketLock(_claim_of(trial)).held())
            else:
                return False
        except (BlockingIOError, InUse):
            return False
        except OSError:
            pass  # no locks on this file system: the run's own is all there is
        if not self._is_open(trial):  # ended between the look and the claim
            claim.close()
            return False
        self._claims[trial.name] = claim
        self._begun.add(trial.name)
        self._elsewhere.discard(trial.name)
        self._to_retry.discard(trial.name)
        trial.mark_begun()
        return True

    def _release(self, trial: Trial) -> None:
        self._claims.pop(trial.name).close()

    def _note_finished(self, trial: Trial) -> None:
        self._finished.add(trial.name)
        self._elsewhere.discard(trial.name)
        if self._search and self._by:
            best = self._by.best(trial.logged())
            self._search.tell(trial, best[1] if best else None)


def _claim_of(trial: Trial) -> str:
    folder, _, name = trial.workdir.rpartition("/")
    return paths.join(paths.join(folder, _CLAIMS), name)
