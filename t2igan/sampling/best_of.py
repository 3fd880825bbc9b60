"""Best-of-N: of a caption's images the one that the matcher scores highest."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from input_pipeline.errors import UserError
from t2igan.metrics.features import network as feature_network
from t2igan.metrics.features.network import BATCH, FeatureNetwork
from t2igan.metrics.matcher import model as matcher
from t2igan.metrics.matcher.model import Matcher

_AT_ONCE = 512  # images drawn before all but the best are let go

# Captions and a number of images -> uint8 [captions, images, S, S, 3].
Draw = Callable[[Sequence[str], int], np.ndarray]


def sample_best(
    draw: Draw, captions: Sequence[str], num: int, best_of: int, judge: Matcher
) -> np.ndarray:
    """Returns uint8 [N, num, S, S, 3]: of every `best_of` images of a caption the best one.

    What an image scores depends on it and its caption alone, to the last bit: features are made
    of equally many images at a time, whatever their number.

    Args:
      draw: gives the first images of captions; the j-th kept is one of [j B, (j + 1) B).
      captions: N sentences.
      num: images to keep of each.
      best_of: B, images drawn for each one kept.
      judge: puts images and captions into one space.

    Raises:
      UserError: lite0, which the matcher reads images with, is not installed.
    """
    together = max(1, _AT_ONCE // (num * best_of))
    kept = []
    for start in range(0, len(captions), together):
        some = captions[start : start + together]
        drawn = draw(some, num * best_of)
        drawn = drawn.reshape(len(some), num, best_of, *drawn.shape[2:])
        best = _scores(drawn, some, judge).argmax(axis=2)
        kept.append(np.take_along_axis(drawn, best[:, :, None, None, None, None], axis=2)[:, :, 0])
    return np.concatenate(kept)


def opened(judge: Matcher | str | Path | None) -> Matcher:
    """Returns the matcher, read where its file is given.

    Raises:
      UserError: there is none, or its file is missing or damaged.
    """
    if judge is None:
        raise UserError(
            "best_of needs a matcher to choose with: make one with `t2igan train_matcher "
            "--dataset=DATASET --out=FILE` and give its file as the matcher"
        )
    return matcher.load(judge) if isinstance(judge, str | Path) else judge


def _scores(drawn: np.ndarray, captions: Sequence[str], judge: Matcher) -> np.ndarray:
    """[N, num, B] cosines of images with their captions."""
    images = drawn.reshape(-1, *drawn.shape[3:])
    padding = ((0, -len(images) % BATCH), *((0, 0),) * 3)
    features = lite0().features(np.pad(images, padding))[: len(images)]
    rows = judge.embed_images(features).reshape(*drawn.shape[:3], -1)
    return np.sum(rows * judge.embed_captions(captions)[:, None, None], axis=-1)


@functools.cache
def lite0() -> FeatureNetwork:
    """Returns the network whose features matchers are trained on, read and compiled once."""
    return feature_network.load("lite0")
