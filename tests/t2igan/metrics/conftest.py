"""A prepared data set in memory, and a feature network that needs no weights."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from input_pipeline.text.vocabulary import SPECIAL_WORDS, Vocabulary
from t2igan.metrics.features.network import FeatureNetwork

SIZE, LENGTH = 16, 6
VOCABULARY = Vocabulary((*SPECIAL_WORDS, "a", "red", "blue", "green", "thing"))
COLORS = {"red": (220, 30, 30), "blue": (30, 30, 220), "green": (30, 200, 30)}


class Source:
    """Images of one color and noise, each with two captions that name the color."""

    def __init__(self, count, seed, whole):
        self.count, self.seed = count, seed
        self.vocabulary, self.whole = whole.vocabulary, whole

    def __len__(self):
        return self.count

    def __getitems__(self, indices):
        self.whole.reads += len(indices)
        return {
            "key": [f"{self.seed}-{i}" for i in indices],
            "image": np.stack([picture(self.seed, int(i)) for i in indices]),
            "captions": [self._captions(int(i)) for i in indices],
        }

    def _captions(self, index):
        name = list(COLORS)[index % 3]
        lines = (f"a {name} thing", f"thing {name}")
        return np.stack([self.vocabulary.encode(line, LENGTH) for line in lines])


def picture(seed, index):
    numbers = np.random.default_rng([seed, index])
    color = np.array(list(COLORS.values())[index % 3])
    noisy = color + numbers.normal(0, 25, (SIZE, SIZE, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)


@dataclasses.dataclass
class InMemory:
    splits: dict[str, int]
    path: Path
    vocabulary: Vocabulary = VOCABULARY
    image_size: int = SIZE
    caption_length: int = LENGTH
    hash: str = "0" * 64
    sentence_encoder: None = None
    reads: int = 0

    @property
    def word_vectors(self):
        return np.random.default_rng(0).normal(size=(len(self.vocabulary), 6)).astype(np.float32)

    def source(self, split, sentences=False):
        return Source(self.splits[split], len(split), self)


@pytest.fixture
def dataset(tmp_path):
    return InMemory({"train": 70, "validation": 20, "test": 50}, tmp_path)


@pytest.fixture
def network():
    """Means and spreads of the colors, in 12 numbers."""

    def apply(params, images):
        x = images.astype("float32") / 255 * params["scale"]
        corner = x[:, : SIZE // 2, : SIZE // 2]
        parts = [x.mean((1, 2)), x.std((1, 2)), corner.mean((1, 2)), corner.std((1, 2))]
        return np.concatenate(parts, 1) if isinstance(x, np.ndarray) else _jax_join(parts)

    return FeatureNetwork(
        name="lite0",
        dim=12,
        params={"scale": np.float32(1.0)},
        apply=apply,
        classify=lambda params, rows: rows * 8,
        provenance={"network": "test", "weights_sha256": "0" * 64, "resize": "none"},
    )


def _jax_join(parts):
    import jax.numpy as jnp

    return jnp.concatenate(parts, axis=1)
