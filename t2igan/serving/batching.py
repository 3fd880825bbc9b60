"""Batching of concurrent requests: one compiled batch, many callers."""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from t2igan.sampling.run import Run

_TOGETHER = 16  # images of one compiled batch
_WAIT = 0.002  # seconds for others to come


class Full(Exception):
    """As many images are waiting as may."""


@dataclasses.dataclass
class _Job:
    caption: str
    num: int
    seed: int
    truncation: float
    done: asyncio.Future[list[Any]]


class Batcher:
    """Generates images for many callers with one generator.

    Args:
      run: trained.
      finish: (uint8 [S, S, 3]) -> what callers get of each image; runs in the generating thread.
      most_waiting: images that may wait; beyond, callers are turned away.
    """

    def __init__(
        self, run: Run, finish: Callable[[np.ndarray], Any], most_waiting: int = 256
    ) -> None:
        self._run, self._finish = run, finish
        self._most = most_waiting
        self._waiting = 0
        self._jobs: asyncio.Queue[_Job] = asyncio.Queue()
        self._pool = concurrent.futures.ThreadPoolExecutor(1, "generate")
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Compiles, and begins to generate."""
        loop = asyncio.get_running_loop()
        first = _Job(self._run.vocabulary.words[-1], 1, 0, 1.0, loop.create_future())
        await loop.run_in_executor(self._pool, self._generated, [first])
        self._task = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Ends; who still waits is turned away."""
        if self._task is not None:
            self._task.cancel()
        while not self._jobs.empty():
            self._jobs.get_nowait().done.cancel()
        self._pool.shutdown(wait=False)

    @property
    def waiting(self) -> int:
        """Images that wait or are being generated."""
        return self._waiting

    async def generate(self, caption: str, num: int, seed: int, truncation: float) -> list[Any]:
        """Returns `num` finished images, those that `Run.sample` gives.

        Raises:
          Full: too many images are waiting.
        """
        if self._waiting + num > self._most:
            raise Full
        self._waiting += num
        try:
            done = asyncio.get_running_loop().create_future()
            self._jobs.put_nowait(_Job(caption, num, seed, truncation, done))
            return await done
        finally:
            self._waiting -= num

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            jobs = [await self._jobs.get()]
            if self._jobs.empty():
                await asyncio.sleep(_WAIT)
            while not self._jobs.empty() and sum(job.num for job in jobs) < _TOGETHER:
                jobs.append(self._jobs.get_nowait())
            jobs = [job for job in jobs if not job.done.done()]  # whose caller has left
            if not jobs:
                continue
            try:
                parts = await loop.run_in_executor(self._pool, self._generated, jobs)
            except Exception as error:  # each of its callers learns of it; others go on
                for job in jobs:
                    if not job.done.done():
                        job.done.set_exception(error)
                continue
            for job, part in zip(jobs, parts, strict=True):
                if not job.done.done():
                    job.done.set_result(part)

    def _generated(self, jobs: Sequence[_Job]) -> list[list[Any]]:
        counts = [job.num for job in jobs]
        rows = self._run.text([job.caption for job in jobs])
        text = {name: np.repeat(values, counts, axis=0) for name, values in rows.items()}
        noise = self._run.noise(
            np.repeat([job.seed for job in jobs], counts),
            np.concatenate([np.arange(count) for count in counts]),
            np.repeat([job.truncation for job in jobs], counts),
        )
        images = iter(self._run.generate_from(text, noise))
        return [[self._finish(next(images)) for _ in range(count)] for count in counts]
