"""Peak memory and time of evaluating 50,000 images, the feature network aside.

    python scripts/benchmarks/evaluation_memory.py
    python scripts/benchmarks/evaluation_memory.py --images=10000 --metrics=frechet,kid

ImageSet are noise, made as they are asked for, and features are a cheap projection to as many
numbers as Inception's, so that what is left is the metrics' own. Memory is the process' own (not
the files that it maps, which the system takes back), above what it held before.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
import threading
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from input_pipeline.text.vocabulary import SPECIAL_WORDS, Vocabulary
from t2igan.metrics.engine import build as contexts
from t2igan.metrics.engine import registry
from t2igan.metrics.features import network as feature_network
from t2igan.metrics.features.network import FeatureNetwork

METRICS = "frechet,kid,prdc,inception_score"
SIZE, DIM, CLASSES, LENGTH = 64, 2048, 1008, 6
VOCABULARY = Vocabulary((*SPECIAL_WORDS, "noise"))
POLL_SECONDS = 0.02


def main() -> int:
    """Prints one line of JSON; exit status 1 where the peak is above --most_gb."""
    flags = _parse_flags()
    with tempfile.TemporaryDirectory() as folder:
        dataset = _Noise(flags.pictures, Path(folder))
        feature_network.load = lambda name, weights=None: _projection()
        before = _own_bytes()
        start = time.perf_counter()
        with _Peak() as peak:
            names = registry.listed(flags.metrics)
            context = contexts.make_context(
                names, generate=_generate, dataset=dataset, num=flags.pictures, resamples=20
            )
            results = registry.measure_all(context, names)
    gigabytes = (peak.bytes - before) / 2**30
    told = {"pictures": flags.pictures, "metrics": [result.metric for result in results]}
    seconds = round(time.perf_counter() - start)
    print(json.dumps(told | {"peak_gb": round(gigabytes, 2), "seconds": seconds}))
    return int(gigabytes > flags.most_gb)


def _parse_flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=50_000, help="real, and as many generated")
    parser.add_argument("--metrics", default=METRICS)
    parser.add_argument("--most_gb", type=float, default=2.0, help="exit 1 above it")
    return parser.parse_args()


@dataclasses.dataclass
class _Noise:
    """A data set of noise with a caption each; nothing of it is kept."""

    count: int
    path: Path
    vocabulary: Vocabulary = VOCABULARY
    image_size: int = SIZE
    caption_length: int = LENGTH
    fingerprint: str = "0" * 64
    sentence_encoder: None = None

    @property
    def splits(self) -> dict[str, int]:
        return {"train": self.count, "test": self.count}

    def source(self, split: str, sentences: bool = False) -> _Rows:
        return _Rows(self.count, len(split))


@dataclasses.dataclass
class _Rows:
    count: int
    seed: int

    def __len__(self) -> int:
        return self.count

    def __getitems__(self, indices: np.ndarray) -> dict[str, object]:
        caption = np.array([[1, 4, 2, 0, 0, 0]], np.int32)
        return {
            "key": [str(i) for i in indices],
            "image": _pictures(indices, self.seed),
            "captions": [caption] * len(indices),
        }


def _pictures(indices: np.ndarray, seed: int) -> np.ndarray:
    random = np.random.default_rng([seed, int(indices[0])])
    return random.integers(0, 256, (len(indices), SIZE, SIZE, 3), np.uint8)


def _generate(text: object, indices: np.ndarray) -> np.ndarray:
    return _pictures(np.asarray(indices), 1)


def _projection() -> FeatureNetwork:
    random = np.random.default_rng(0)
    table = random.normal(size=(SIZE * SIZE * 3 // 64, DIM)).astype(np.float32)
    classes = random.normal(size=(DIM, CLASSES)).astype(np.float32) / 50

    def apply(params: jnp.ndarray, images: jnp.ndarray) -> jnp.ndarray:
        flat = images.reshape(len(images), -1, 64).astype(jnp.float32).mean(2) / 255 - 0.5
        return flat @ params

    return FeatureNetwork(
        name="lite0",
        dim=DIM,
        params=table,
        apply=apply,
        classify=lambda params, rows: rows @ classes,
        provenance={"network": "projection", "weights_sha256": "0" * 64, "resize": "none"},
    )


class _Peak:
    """The most own memory of this process while the block runs."""

    def __enter__(self) -> _Peak:
        self.bytes, self._done = _own_bytes(), threading.Event()
        self._watch = threading.Thread(target=self._poll, daemon=True)
        self._watch.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._done.set()
        self._watch.join()

    def _poll(self) -> None:
        while not self._done.wait(POLL_SECONDS):
            self.bytes = max(self.bytes, _own_bytes())


def _own_bytes() -> int:
    """Anonymous resident memory of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("evaluation_memory: needs Linux' /proc/self/status with RssAnon")


if __name__ == "__main__":
    sys.exit(main())
