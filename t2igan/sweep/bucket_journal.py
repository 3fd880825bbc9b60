"""The journal of a search in a bucket: one object a record, numbered in the order of arrival."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from optuna.storages.journal import BaseJournalBackend

from t2igan.runtime.buckets import transfer


class BucketJournal(BaseJournalBackend):
    """Records of `optuna.storages.JournalStorage`, which several machines append to.

    A bucket cannot append, but it can refuse to create an object that is there: whoever creates
    the next number first has it, and the other takes the one after it.
    """

    def __init__(self, url: str) -> None:
        """Nothing is read yet.

        Args:
          url: of the folder.
        """
        self._url = url
        self._records: list[dict[str, Any]] = []

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """Returns the records from a number on."""
        self._read_new()
        return self._records[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Appends records, in this order; those of others may come between them."""
        for record in logs:
            data = json.dumps(record).encode()
            while not transfer.write_bytes(self._object(len(self._records)), data, new=True):
                self._read_new()
            self._records.append(record)

    def _read_new(self) -> None:
        while (data := transfer.read_bytes(self._object(len(self._records)))) is not None:
            self._records.append(json.loads(data))

    def _object(self, number: int) -> str:
        return transfer.join(self._url, f"{number:08d}.json")
