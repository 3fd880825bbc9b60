"""Trains a matcher on lite0 features of a data set's training images and their captions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from input_pipeline.dataset.open import Dataset
from input_pipeline.errors import UserError
from input_pipeline.text.sentence_encoders import SentenceEncoder
from t2igan.metrics.engine import image_sets
from t2igan.metrics.features.network import FeatureNetwork
from t2igan.metrics.matcher import model as matcher
from t2igan.metrics.matcher.model import Matcher, Params
from t2igan.metrics.statistics.retrieval import GALLERY


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a matcher is trained.

    Attributes:
      steps: of Adam.
      batch_size: images a step, each with one of its captions; at most those of the split.
      learning_rate: the largest, after a warm-up and before a cosine decay.
      seed: of weights, batches and dropout.
      flip: whether mirrored images are learned from too; wrong where captions say "left".
    """

    steps: int = 1000
    batch_size: int = 512
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    seed: int = 0
    flip: bool = False


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Features of a split's images and all their captions.

    Attributes:
      features: [views, n, 1280] of the images, the second view mirrored.
      texts: of each image its captions, int32 [m, L] codes or float16 [m, E] embeddings.
    """

    features: np.ndarray
    texts: list[np.ndarray]


def read_pairs(
    dataset: Dataset,
    split: str,
    network: FeatureNetwork,
    *,
    flip: bool,
    encoder: SentenceEncoder | None = None,
) -> Pairs:
    """Features and captions of a split.

    Args:
      dataset: a prepared data set.
      split: its split.
      network: lite0.
      flip: whether to read every image mirrored too.
      encoder: of sentences, where the matcher is to read those.
    """
    source = dataset.source(split)
    captions: list[np.ndarray] = []
    views: list[list[np.ndarray]] = [[], []] if flip else [[]]
    with tqdm(total=len(source), desc=f"{split} images", unit="image") as bar:
        for rows in image_sets.blocks(len(source)):
            records = source.__getitems__(np.arange(rows.start, rows.stop))
            captions += records["captions"]
            views[0].append(network.features(records["image"]))
            if flip:
                views[1].append(network.features(records["image"][:, :, ::-1]))
            bar.update(rows.stop - rows.start)
    texts = captions if encoder is None else _sentences(dataset, split, captions, encoder)
    return Pairs(np.stack([np.concatenate(view) for view in views]), texts)


def _sentences(
    dataset: Dataset, split: str, captions: list[np.ndarray], encoder: SentenceEncoder
) -> list[np.ndarray]:
    """Embeddings [m, E] of each image's captions, of the words that the codes hold."""
    rows = [matcher.spoken(dataset.vocabulary, codes) for codes in captions]
    bar = tqdm(rows, desc=f"{split} captions", unit="image")
    return [encoder(some) for some in bar]


def train(dataset: Dataset, pairs: Pairs, settings: Settings) -> Params:
    """Parameters after training.

    Every step draws other images with one caption each, and asks of each caption which of the
    images is its own, and of each image which caption (InfoNCE both ways).

    Reference: Radford et al., CLIP, arXiv:2103.00020, section 2.3.

    Raises:
      UserError: the split has fewer images than a batch can use.
    """
    count = len(pairs.texts)
    if count < 2:
        raise UserError(f"a matcher needs at least 2 training images; there are {count}")
    key = jax.random.key(settings.seed)
    first = pairs.texts[0]
    sentence_dim = first.shape[1] if np.issubdtype(first.dtype, np.floating) else 0
    params = matcher.init(key, dataset.word_vectors, pairs.features[0], sentence_dim)
    frozen = {name: params.pop(name) for name in ("centre", "spread")}
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, settings.learning_rate, settings.steps // 10, settings.steps
    )
    optimizer = optax.adamw(schedule, weight_decay=settings.weight_decay)

    def loss(params: Params, features: jax.Array, texts: jax.Array, key: jax.Array) -> jax.Array:
        return contrastive_loss({**params, **frozen}, features, texts, key)

    @jax.jit
    def step(params: Params, state: Any, features: Any, texts: Any, key: jax.Array) -> Any:
        value, gradients = jax.value_and_grad(loss)(params, features, texts, key)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, value

    state = optimizer.init(params)
    with tqdm(total=settings.steps, desc="matcher", unit="step") as bar:
        for i, (features, texts) in enumerate(_batches(pairs, settings)):
            params, state, value = step(params, state, features, texts, jax.random.fold_in(key, i))
            if i % 50 == 0:
                bar.set_postfix(loss=f"{float(value):.3f}")
            bar.update()
    return {**params, **frozen}


def contrastive_loss(
    params: Params, features: jax.Array, texts: jax.Array, key: jax.Array | None
) -> jax.Array:
    """Returns [] mean cross entropy of finding each caption's image and each image's caption.

    Args:
      params: of the matcher.
      features: [B, 1280] of images that all differ.
      texts: one caption of each, as `text_tower` reads it.
      key: of the dropout, or None.
    """
    keys = (None, None) if key is None else jax.random.split(key)
    images = matcher.image_tower(params, features, keys[0])
    texts = matcher.text_tower(params, texts, keys[1])
    logits = images @ texts.T * jnp.exp(jnp.minimum(params["temperature"], jnp.log(100.0)))
    labels = jnp.arange(len(logits))
    both = (logits, logits.T)
    each = [optax.softmax_cross_entropy_with_integer_labels(table, labels) for table in both]
    return (jnp.mean(each[0]) + jnp.mean(each[1])) / 2


def _batches(pairs: Pairs, settings: Settings) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    random = np.random.default_rng(settings.seed)
    count = len(pairs.texts)
    size = min(settings.batch_size, count)
    for _ in range(settings.steps):
        rows = random.choice(count, size, replace=False)
        view = random.integers(len(pairs.features), size=size)
        drawn = [pairs.texts[row][random.integers(len(pairs.texts[row]))] for row in rows]
        yield pairs.features[view, rows], np.stack(drawn)


def held_out_recall(trained: Matcher, pairs: Pairs, gallery: int = GALLERY) -> dict[int, float]:
    """Share of captions that find their image among the k best of the gallery, by k.

    Args:
      trained: the matcher.
      pairs: of a split that it was not trained on; its first `gallery` images, all captions.
      gallery: images to choose from.
    """
    images = trained.embed_images(pairs.features[0][:gallery])
    texts = pairs.texts[:gallery]
    owner = np.repeat(np.arange(len(texts)), [len(rows) for rows in texts])
    scores = trained.embed_rows(np.concatenate(texts)) @ images.T
    truth = scores[np.arange(len(owner)), owner]
    rank = np.sum(scores > truth[:, None], axis=1)
    return {k: float(np.mean(rank < k)) for k in (1, 5, 10)}
