"""Makes the context of an evaluation from a data set and a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from input_pipeline.dataset.open import Dataset
from input_pipeline.errors import UserError
from t2igan.metrics.engine import image_sets, registry
from t2igan.metrics.engine.context import Context, Reader
from t2igan.metrics.engine.image_sets import Generate, ImageSet
from t2igan.metrics.features import network as feature_network
from t2igan.metrics.features.patches import Patches
from t2igan.metrics.features.shapes_oracle import ShapesOracle

FLOOR_SPLITS = ("train", "validation", "test")


def make_context(
    metrics: Sequence[str],
    *,
    fake: ImageSet | None = None,
    generate: Generate | None = None,
    dataset: Dataset | None = None,
    split: str = "test",
    num: int = 0,
    network: str = "lite0",
    weights: dict[str, str | Path] | None = None,
    seed: int = 0,
    about: dict[str, Any] | None = None,
    **more: Any,
) -> Context:
    """Returns everything that the metrics need; the images are generated when the first asks for
    them.

    Args:
      metrics: names of metrics.
      fake: images to measure, or None to generate them.
      generate: the model, for captions of the split.
      dataset: prepared data, needed by `generate` and by all that compares with real images.
      split: of the captions and of the real images.
      num: fakes to generate; 0 for one of each image of the split.
      network: the feature network of metrics that name none.
      weights: files of feature networks that are not at their usual places, by name.
      seed: of all draws.
      about: for the provenance of every result.
      more: other fields of `Context`.

    Raises:
      UserError: an unknown metric, weights that are missing, or no such split.
    """
    if network not in feature_network.NETWORKS:
        known = ", ".join(feature_network.NETWORKS)
        raise UserError(f"no feature network is called {network!r}: choose one of {known}")
    names = registry.readers_of(metrics, network)
    size = dataset.image_size if dataset else 0
    readers = {name: _reader(name, (weights or {}).get(name), size) for name in names}
    about = dict(about or {})
    sets: dict[str, ImageSet] = {}
    if dataset is not None:
        sets = real_sets(dataset, split, fake.count if fake else num, seed)
        about |= {"dataset": dataset.hash, "image_size": dataset.image_size}
    context = Context(sets, readers, network, dataset=dataset, seed=seed, about=about, **more)
    if generate is not None:
        fake = image_sets.generated(captions_of(dataset, split, num, seed), generate, {})
        context.generate = generate
    if fake is not None:
        sets["fake"] = fake
    return context


def captions_of(dataset: Dataset, split: str, num: int, seed: int) -> ImageSet:
    """Returns the real images whose captions are drawn for: all of the split, or `num` of them."""
    return image_sets.of_split(dataset, split, "captions", num, seed)


def real_sets(dataset: Dataset, split: str, num: int, seed: int) -> dict[str, ImageSet]:
    """Returns the real image sets of an evaluation.

    Args:
      dataset: a prepared data set.
      split: the one that fakes are compared with.
      num: number of fakes, 0 for one of each image; the real images of the floor are as many,
        where the other split has so many.
      seed: of the draws.
    """
    real = image_sets.of_split(dataset, split, "real", seed=seed)
    sets = {"real": real, "real_blurred": image_sets.blurred(real, "real_blurred")}
    if "train" in dataset.splits:
        sets["train"] = image_sets.of_split(dataset, "train", "train", seed=seed)
    floor = [name for name in FLOOR_SPLITS if name in dataset.splits and name != split]
    if floor and not split.startswith(floor[0] + "["):
        count = min(num or real.count, dataset.splits[floor[0]])
        other = image_sets.of_split(dataset, floor[0], "other", count, seed)
        sets |= {"other": other, "other_blurred": image_sets.blurred(other, "other_blurred")}
    return sets


def _reader(name: str, weights: str | Path | None, image_size: int) -> Reader:
    if name == ShapesOracle.name:
        return ShapesOracle()
    if name == Patches.name:
        if not image_size:
            raise UserError("patches are compared with real ones: give --dataset=DATASET")
        return Patches(image_size)
    return feature_network.load(name, weights)
