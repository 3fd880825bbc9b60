"""Embeddings of images and of their captions by CLIP, as CLIPScore takes them."""

from __future__ import annotations

import numpy as np

from input_pipeline.errors import UserError
from t2igan.backbones.clip import unit
from t2igan.metrics.engine.context import Context
from t2igan.metrics.engine.image_sets import blocks

NETWORK = "clip_vitb32"
PROMPT = "A photo depicts "  # before each caption, as CLIPScore's code has it


def require_texts(context: Context) -> None:
    """Raises a UserError where the images' captions are not known as they were written."""
    texts = context.image_set("fake").texts
    if texts is not None:
        texts(np.arange(1))  # a data set may hold codes alone, and says so
    else:
        raise UserError(
            "the images have no captions that CLIP could read: give --captions=FILE, or a data set "
            "that holds its captions as they were written"
        )


def embeddings(context: Context, population: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns [n, E] of the images and [n, E] of the captions, of length 1, in the fakes' order.

    Args:
      context: with the reader `NETWORK`.
      population: `fake`; or `real` or `real_blurred`, then each caption's own real image.
    """
    if population == "fake":
        rows = context.rows("fake", NETWORK)
    else:
        rows = context.paired_rows(population, NETWORK)
    return unit(rows), context.once(f"{NETWORK}/captions", lambda: _captions(context))


def _captions(context: Context) -> np.ndarray:
    fake = context.image_set("fake")
    assert fake.texts is not None
    parts = []
    for rows in blocks(fake.count):
        texts = fake.texts(np.arange(rows.start, rows.stop))
        parts.append(context.readers[NETWORK].texts([PROMPT + text for text in texts]))
    return unit(np.concatenate(parts))
