"""Exported generators beside `t2igan sample`: images/s, size, and images with all attributes
correct.

    python scripts/benchmarks/export_speed.py

The generator that ships with the package (shapes), as ONNX by onnxruntime, as LiteRT (one image a
call) and as `t2igan sample` runs it, in turns in one process; ratios are within a round. All
attributes correct: share of 1,000 captions, as the oracle reads the images.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import onnxruntime
from ai_edge_litert.interpreter import Interpreter

from input_pipeline.sources.shapes import oracle
from input_pipeline.sources.shapes.captions import attributes_of
from t2igan.export import generator, litert, onnx_model
from t2igan.export.precision import PRECISIONS
from t2igan.sampling import run as sampling
from t2igan.sampling.run import Run

_CAPTIONS = [
    f"a {size} {color} {shape} on the {place} of a {ground} background"
    for size in ("small", "large")
    for color in ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
    for shape in ("circle", "square", "triangle", "star", "heart", "cross", "ring")
    for place in ("left", "right", "top", "bottom")
    for ground in ("black", "white", "gray")
][:1000]


def main() -> None:
    """Prints a line of JSON a batch size, and one a precision."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch_sizes", type=int, nargs="*", default=[1, 32])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="of a turn")
    flags = parser.parse_args()
    run = sampling.load_pretrained("shapes")
    with tempfile.TemporaryDirectory() as folder:
        lite = Path(folder) / "model.tflite"
        litert.write(generator.of_run(run), lite)
        print(json.dumps({"format": "litert", "bytes": lite.stat().st_size}), flush=True)
        runner = Interpreter(str(lite)).get_signature_runner(litert.SIGNATURE)
        sessions = {}
        for precision in PRECISIONS:
            path = Path(folder) / f"{precision}.onnx"
            onnx_model.write(generator.of_run(run), path, precision)
            sessions[precision] = onnxruntime.InferenceSession(path)
            row = {
                "precision": precision,
                "bytes": path.stat().st_size,
                "all_attributes_correct": _correct(run, sessions[precision]),
            }
            print(json.dumps(row), flush=True)
    for size in flags.batch_sizes:
        ways = _ways(run, sessions, runner, size)
        print(json.dumps(_speeds(ways, size, flags.rounds, flags.seconds)), flush=True)


def _ways(
    run: Run,
    sessions: dict[str, onnxruntime.InferenceSession],
    runner: Callable[..., object],
    size: int,
) -> dict[str, Callable[[], object]]:
    arrays = _arrays(run, _CAPTIONS[:size])
    text, indices = run.text(_CAPTIONS[:size]), np.arange(size, dtype=np.int32)
    ways: dict[str, Callable[[], object]] = {"sample": lambda: run.generate(text, indices, 0)}
    for precision, session in sessions.items():
        ways[precision] = lambda session=session: _images(session, arrays)
    if size == 1:
        ways["litert"] = lambda: runner(**arrays)
    return ways


def _speeds(
    ways: dict[str, Callable[[], object]], size: int, rounds: int, seconds: float
) -> dict[str, object]:
    for way in ways.values():
        way()
    taken = [{name: _rate(way, size, seconds) for name, way in ways.items()} for _ in range(rounds)]
    row: dict[str, object] = {"batch_size": size}
    for name in ways:
        row[name] = round(statistics.median(one[name] for one in taken), 1)
        ratios = [one[name] / one["sample"] for one in taken]
        row[f"{name} / sample"] = round(statistics.median(ratios), 2)
    return row


def _rate(call: Callable[[], object], size: int, seconds: float) -> float:
    start, number = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        call()
        number += size
    return number / (time.perf_counter() - start)


def _correct(run: Run, session: onnxruntime.InferenceSession) -> float:
    images = _images(session, _arrays(run, _CAPTIONS)).astype(np.uint8)
    shown = oracle.read(images)
    asked = [attributes_of(caption) for caption in _CAPTIONS]
    right = [
        all(value is None or row[i] == value for i, value in enumerate(attributes))
        for row, attributes in zip(shown, asked, strict=True)
    ]
    return float(np.mean(right))


def _images(session: onnxruntime.InferenceSession, arrays: dict[str, np.ndarray]) -> np.ndarray:
    (images,) = session.run(["image"], arrays)
    return np.asarray(images)


def _arrays(run: Run, captions: list[str]) -> dict[str, np.ndarray]:
    """The model's inputs, its noise that of `t2igan sample`."""
    text = run.text(captions)
    indices = np.arange(len(captions), dtype=np.int32)
    sampler = run._sampler(len(captions))[0]
    return {**text, **jax.device_get(sampler.noise(jax.random.key(0), indices))}


if __name__ == "__main__":
    main()
