"""Captions of a data set's images, for people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from input_pipeline.dataset.open import Dataset


def first_captions(dataset: Dataset, split: str, rows: Sequence[int] | np.ndarray) -> list[str]:
    """Returns the first caption of images: as it was written, or where only codes are known its
    words.
    """
    source = dataset.source(split)
    codes = source.__getitems__(rows)["captions"]
    return [
        texts[0] if texts else dataset.vocabulary.decode(lines[0])
        for texts, lines in zip(source.written(rows), codes, strict=True)
    ]
