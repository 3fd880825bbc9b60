"""The speed of the input pipeline, and the time that a step waits for it.

    python scripts/benchmarks/input_speed.py --json=input_speed.json

Rates are images per CPU-second of this whole process, so other work on the machine and the number
of threads do not count; medians of rounds that take turns (A B C A B C ...), with their spread.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from input_pipeline.dataset import folder as dataset_folder
from input_pipeline.dataset.open import Dataset, open_dataset
from input_pipeline.dataset.records import Record
from input_pipeline.stream.train import TrainStream, train_stream
from input_pipeline.text.vocabulary import SPECIAL_WORDS, Vocabulary
from t2igan.runtime import device

_VOCAB_SIZE = 1004
_PACKAGES = ("jax", "numpy", "grain", "array_record", "tensorflow-datasets", "protobuf")


def main() -> None:
    flags = _parse_flags()
    with contextlib.ExitStack() as stack:
        folder = flags.data or _made(
            Path(stack.enter_context(tempfile.TemporaryDirectory())), flags
        )
        dataset = open_dataset(folder)
        result = {
            "setting": _setting(dataset, flags),
            "machine": _machine(),
            "images_per_cpu_sec": _rates(dataset, flags),
            "waiting": [
                _waiting(dataset, flags, rate, cache)
                for cache in ("memory", "none")
                for rate in flags.consumer_rates
            ],
        }
    _print_table(result)
    if flags.json:
        flags.json.write_text(json.dumps(result, indent=1) + "\n")


def _parse_flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a prepared data set; else one is made up")
    parser.add_argument("--num_images", type=int, default=6000, help="of the made-up data set")
    parser.add_argument("--image_size", type=int, default=64, help="of the made-up data set")
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--consumer_rates", type=int, nargs="*", default=[100, 1000, 10_000, 20_000]
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="of each waiting measurement")
    parser.add_argument("--json", type=Path, help="write the result to this file too")
    return parser.parse_args()


def _made(folder: Path, flags: argparse.Namespace) -> Path:
    """A data set of noise, which packs no better than photographs; five captions an image."""
    from input_pipeline.prepare import shards

    size, rng = flags.image_size, np.random.default_rng(0)

    def records(start: int, stop: int) -> Iterator[Record]:
        for index in range(start, stop):
            image = rng.integers(0, 256, (size, size, 3), np.uint8)
            yield Record(f"{index}", image, rng.integers(4, _VOCAB_SIZE, (5, 17)).astype("<u2"))

    starts = range(0, flags.num_images, 1500)
    files = [records(start, min(start + 1500, flags.num_images)) for start in starts]
    shards.write_shards(folder, {"train": files}, image_size=size, caption_length=17)
    words = SPECIAL_WORDS + tuple(f"w{code}" for code in range(4, _VOCAB_SIZE))
    report = {"image_size": size, "caption_length": 17}
    table = np.zeros((_VOCAB_SIZE, 2), np.float32)
    dataset_folder.finish(folder, Vocabulary(words).to_json(), table, report)
    return folder


def _setting(dataset: Dataset, flags: argparse.Namespace) -> dict[str, Any]:
    size = dataset.image_size
    return {
        "images": dataset.splits["train"],
        "shape": [size, size, 3],
        "batch_size": flags.batch_size,
        "page_cache": "warm",
    }


def _machine() -> dict[str, Any]:
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "processor": platform.processor() or platform.machine(),
        "device": jax.devices()[0].device_kind,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in _PACKAGES},
    }


def _rates(dataset: Dataset, flags: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Images per CPU-second of each way, the rounds taking turns."""
    mesh = device.data_mesh()
    with contextlib.ExitStack() as stack:

        def stream(**kwargs: Any) -> TrainStream:
            made = train_stream(dataset, batch_size=flags.batch_size, seed=0, **kwargs)
            return stack.enter_context(made)

        in_memory = stream(cache="memory")
        ways: dict[str, Callable[[], object]] = {
            "shards": stream(cache="none").__next__,
            "memory": in_memory.__next__,
            "memory, flip": stream(cache="memory", flip=True).__next__,
            "memory, to the device": lambda: jax.block_until_ready(
                device.put(next(in_memory), mesh)
            ),
        }
        epoch = dataset.splits["train"] // flags.batch_size + 1
        for way in ways.values():  # fills the memory, and warms up
            _rate(way, epoch, flags.batch_size)
        rounds = [
            {name: _rate(way, epoch, flags.batch_size) for name, way in ways.items()}
            for _ in range(flags.rounds)
        ]
    return {name: _summary([one[name] for one in rounds]) for name in ways}


def _rate(call: Callable[[], object], times: int, batch_size: int) -> float:
    start = time.process_time()
    for _ in range(times):
        call()
    return times * batch_size / (time.process_time() - start)


def _summary(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def _waiting(
    dataset: Dataset, flags: argparse.Namespace, rate: int, cache: Literal["memory", "none"]
) -> dict[str, Any]:
    """Part of its time that a step waits, where a step alone takes `rate` images a second.

    The step sleeps: it stands for an accelerator, which leaves the processor to the pipeline.
    """
    step_time = flags.batch_size / rate
    steps = max(3, int(flags.seconds / step_time)) if step_time < flags.seconds else 1
    waits = []
    with train_stream(dataset, batch_size=flags.batch_size, seed=0, cache=cache) as stream:
        for _ in range(dataset.splits["train"] // flags.batch_size + 1):
            next(stream)
        with device.prefetch(stream, device.data_mesh()) as batches:
            next(batches)
            begin = time.perf_counter()
            for _ in range(steps):
                time.sleep(step_time)
                start = time.perf_counter()
                jax.block_until_ready(next(batches))
                waits.append(time.perf_counter() - start)
            total = time.perf_counter() - begin
    return {
        "cache": cache,
        "step_images_per_sec": rate,
        "step_ms": step_time * 1e3,
        "median_wait_ms": statistics.median(waits) * 1e3,
        "part_of_step": sum(waits) / total,
    }


def _print_table(result: dict[str, Any]) -> None:
    print("images per CPU-second        median     least      most")
    for name, rate in result["images_per_cpu_sec"].items():
        print(f"{name:25}{rate['median']:10,.0f}{rate['least']:10,.0f}{rate['most']:10,.0f}")
    print("\ncache   step alone, images/s   its time      it waits    of its time")
    for row in result["waiting"]:
        print(
            f"{row['cache']:7} {row['step_images_per_sec']:20,} {row['step_ms']:8.1f} ms "
            f"{row['median_wait_ms']:10.3f} ms {row['part_of_step']:12.2%}"
        )


if __name__ == "__main__":
    main()
