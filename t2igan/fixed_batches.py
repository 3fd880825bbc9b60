"""Any number of pictures from a program that draws a fixed number at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from t2igan.images import to_uint8


def draw_all(
    draw: Callable[..., jax.Array],
    inputs: tuple[Any, ...],
    image_size: int,
    batch_size: int,
    progress: bool = False,
) -> np.ndarray:
    """Returns uint8 [B, S, S, 3], row by row of the inputs.

    One batch is drawn while the one before it is fetched; no more wait on the device.

    Args:
      draw: takes `batch_size` rows of the inputs, returns [batch_size, S, S, 3] in [-1, 1].
      inputs: trees of arrays [B, ...].
      image_size: S.
      batch_size: rows at once; the last row is repeated to fill the last batch.
      progress: show a bar.
    """
    count = jax.tree.leaves(inputs)[0].shape[0]
    out = np.empty((count, image_size, image_size, 3), np.uint8)
    pending: tuple[int, jax.Array] | None = None
    starts = range(0, count, batch_size)
    for start in tqdm(starts, disable=not progress, unit="batch", desc="drawing"):
        drawn = start, to_uint8(draw(*_rows(inputs, start, batch_size)))
        if pending:
            _store(out, *pending)
        pending = drawn
    if pending:
        _store(out, *pending)
    return out


def _store(out: np.ndarray, start: int, images: jax.Array) -> None:
    rows = min(len(images), len(out) - start)
    out[start : start + rows] = np.asarray(images)[:rows]


def _rows(tree: Any, start: int, count: int) -> Any:
    places = np.arange(start, start + count)
    return jax.tree.map(lambda x: x[np.minimum(places, len(x) - 1)], tree)
