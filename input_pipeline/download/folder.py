"""Every URL of a captions file to one folder: many at a time, resumable, failures listed."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import csv
import dataclasses
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from input_pipeline import scratch
from input_pipeline.download.fetch import Fetcher, FetchError, Limits
from input_pipeline.errors import UserError
from input_pipeline.images.placeholders import digest
from input_pipeline.readers.hdf5_captions import CaptionFile, image_name

FAILED = "failed.csv"
_PARTS = ".partial"
_MOST_AMBIGUOUS = 10_000


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be fetched into a folder.

    Attributes:
      files: captions files, each with its split (`train`, `test` or `any`).
      total: number of URLs.
      ambiguous: digests of the names that several URLs end in: one file cannot be the image of
        each.
    """

    files: tuple[tuple[Path, str], ...]
    total: int
    ambiguous: frozenset[bytes]

    def urls(self) -> Iterator[str]:
        """Yields each URL in turn."""
        for path, split in self.files:
            with CaptionFile(path, split) as file:
                yield from (url.strip() for url in file.urls())


def survey(files: Iterable[tuple[Path, str]]) -> Plan:
    """Returns the plan, after all URLs have been looked at once, in memory that does not grow with
    them.

    Args:
      files: captions files, each with its split (`train`, `test` or `any`).

    Raises:
      UserError: a file is missing, damaged or of another layout.
    """
    plan = Plan(tuple(files), 0, frozenset())
    with tqdm(plan.urls(), desc="reading URLs", unit=" URLs", delay=1) as bar:
        names = (
            (digest(name.encode()), digest(url.encode()))
            for url in bar
            if (name := image_name(url)) is not None
        )
        found = scratch.shared(names, 2, _MOST_AMBIGUOUS)
        total = bar.n
    if len(found) == _MOST_AMBIGUOUS:
        raise UserError(
            f"{plan.files[0][0]}: {_MOST_AMBIGUOUS} or more file names belong to several URLs "
            "each; URLs must end in names of their own"
        )
    return dataclasses.replace(plan, total=total, ambiguous=frozenset(found))


def download_folder(folder: Path, plan: Plan, limits: Limits, parallel: int) -> int:
    """Fetches what is not there yet, prints a summary and leaves `failed.csv` in the folder.

    Returns how many of the plan's images the folder has then.

    Interrupted, it leaves whole images only; called again, it goes on.

    Args:
      folder: made if need be.
      plan: what to fetch.
      limits: what a URL may cost.
      parallel: URLs at a time, >= 1.

    Raises:
      UserError: too many URLs in a row could not be connected to.
    """
    # What an earlier run was killed in the midst of.
    shutil.rmtree(folder / _PARTS, ignore_errors=True)
    (folder / _PARTS).mkdir(parents=True)
    try:
        with (
            open(folder / _PARTS / FAILED, "w", newline="", encoding="utf-8") as failed,
            tqdm(total=plan.total, desc="downloading", unit=" images") as bar,
            contextlib.closing(plan.urls()) as urls,
        ):
            download = _Download(folder, plan.ambiguous, failed, bar)
            try:
                asyncio.run(download.run(urls, limits, parallel))
            finally:
                failed.flush()
                os.replace(failed.name, folder / FAILED)
                bar.close()
                print(download.summary())
        return download.fetched + download.there
    finally:
        shutil.rmtree(folder / _PARTS, ignore_errors=True)


@dataclasses.dataclass
class _Download:
    """The state of one folder's download: how many came, and why others did not."""

    folder: Path
    ambiguous: frozenset[bytes]
    failed: TextIO
    bar: tqdm
    fetched: int = 0
    there: int = 0
    unreachable_in_a_row: int = 0
    reasons: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    async def run(self, urls: Iterable[str], limits: Limits, parallel: int) -> None:
        self._list("url", "file", "reason")
        # One iterator for all workers: each takes the next URL when it is free, so that no more
        # of them are in memory than are being fetched.
        numbered = enumerate(urls)
        patience = max(64, 2 * parallel)
        fetcher = Fetcher(limits, parallel)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(parallel):
                    group.create_task(self._work(fetcher, numbered, patience))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            await fetcher.close()

    async def _work(
        self, fetcher: Fetcher, numbered: Iterator[tuple[int, str]], patience: int
    ) -> None:
        for index, url in numbered:
            try:
                await self._one(fetcher, index, url)
                self.unreachable_in_a_row = 0
            except FetchError as error:
                self._note(url, error, patience)
            self.bar.update()
            # Where nothing had to be waited for, let the others run.
            await asyncio.sleep(0)

    async def _one(self, fetcher: Fetcher, index: int, url: str) -> None:
        name = image_name(url)
        if name is None or name in (FAILED, _PARTS) or (self.folder / name).is_dir():
            raise FetchError("bad_name")
        if digest(name.encode()) in self.ambiguous:
            raise FetchError("ambiguous_name")
        path = self.folder / name
        if is_there(path):
            self.there += 1
            return
        await fetcher.fetch(url, path, self.folder / _PARTS / f"{index}.part")
        self.fetched += 1

    def _note(self, url: str, error: FetchError, patience: int) -> None:
        self._list(url, image_name(url) or "", error.reason)
        self.reasons[error.reason] += 1
        self.bar.set_postfix(failed=self.reasons.total(), refresh=False)
        self.unreachable_in_a_row = self.unreachable_in_a_row + 1 if error.unreachable else 0
        if self.unreachable_in_a_row >= patience:
            raise UserError(
                f"{patience} URLs one after another could not be connected to, the last of them "
                f"{url[:200]}; see to the network and run this again: what came is kept"
            )

    def _list(self, *row: str) -> None:
        csv.writer(self.failed).writerow(row)

    def summary(self) -> str:
        """Returns what became of the URLs, a line each kind."""
        failed = self.reasons.total()
        left = self.bar.total - self.fetched - self.there - failed
        first = f"{self.folder}: {self.fetched} fetched, {self.there} already there, "
        first += f"{failed} failed"
        if failed:
            first += f" (listed in {self.folder / FAILED}; run this again to try them again)"
        if left:
            first += f", {left} not tried: run this again to go on"
        return "\n".join(
            [first, *(f"{count:>8}  {why}" for why, count in self.reasons.most_common())]
        )


def is_there(path: Path) -> bool:
    """Returns whether an image was put there before; nothing, or a page, under its name is none."""
    if not path.is_file():
        return False
    with contextlib.suppress(OSError), open(path, "rb") as file:
        head = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
        return bool(head) and not head.startswith(b"<")
    return False
