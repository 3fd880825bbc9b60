"""Embeddings of images and captions by a matcher, and their reference values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from input_pipeline.errors import UserError
from t2igan.metrics.engine.context import Context
from t2igan.metrics.engine.result import Estimate
from t2igan.metrics.statistics.retrieval import r_precision


class Matcher(Protocol):
    """Puts images and captions into one space, where they are near if they match.

    Attributes:
      provenance: hash of its weights, what it was trained on.
    """

    provenance: dict[str, Any]

    def embed_images(self, features: np.ndarray) -> np.ndarray:
        """Returns [n, width] rows of unit length of [n, 1280] lite0 features."""
        ...

    def embed_texts(self, codes: np.ndarray) -> np.ndarray:
        """Returns [n, width] rows of unit length of int32 [n, L] word codes."""
        ...


def matcher_of(context: Context) -> Matcher:
    """Returns the evaluation's matcher.

    Raises:
      UserError: there is none.
    """
    if context.matcher is None:
        raise UserError(
            "this metric needs a matcher: make one with `t2igan train_matcher --dataset=DATASET "
            "--out=FILE` and give --matcher=FILE"
        )
    return context.matcher


def require_captions(context: Context) -> None:
    """Raises a UserError where there is no matcher, or where the images have no captions."""
    matcher_of(context)
    if context.image_set("fake").codes is None:
        raise UserError(
            "the images have no captions that a matcher could read: give --captions=FILE, and "
            "--dataset=DATASET for its words"
        )


def embeddings(context: Context, population: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns [n, width] of the images and [n, width] of the captions, in the order of the fakes.

    Args:
      context: with a matcher.
      image set: `fake`; or `real` or `real_blurred`, then each caption's own real image.
    """
    matcher = matcher_of(context)
    fake = context.image_set("fake")
    if population == "fake":
        rows = context.rows("fake", "lite0")
    else:
        rows = context.paired_rows(population, "lite0")
    return matcher.embed_images(np.asarray(rows)), matcher.embed_texts(fake.codes)


def references_of(
    context: Context, name: str, estimate: Callable[[Context, str], Estimate]
) -> dict[str, Estimate]:
    """Returns the same number of the captions' real images, and of those blurred."""
    if context.image_set("fake").partners is None:
        return {}
    return {
        label: context.reference(
            f"{name}/{label}", lambda p=population: {name: estimate(context, p)}
        )[name]
        for label, population in (("real", "real"), ("blurred", "real_blurred"))
        if context.has(population)
    }


def shuffled(partners: np.ndarray) -> np.ndarray:
    """Returns an order of the captions in which none meets its own image."""
    count = len(partners)
    order = np.roll(np.arange(count), count // 2)
    for step in range(1, count):
        clash = partners[order] == partners
        if not clash.any():
            break
        order = np.where(clash, np.roll(np.arange(count), count // 2 + step), order)
    return order


def hits(context: Context, population: str, *, own: bool = True) -> np.ndarray:
    """Returns [n] whether each image is nearest to its caption, or to a shuffled one."""
    images, texts = embeddings(context, population)
    partners = context.image_set("fake").partners
    if partners is None:
        partners = np.arange(len(texts))
    if not own:
        order = shuffled(partners)
        texts, partners = texts[order], partners[order]
    return r_precision(images, texts, context.seed, partners)
