"""The oracle of the rendered shapes as a reader of images: five attributes a row, no weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from input_pipeline.sources.shapes import oracle
from input_pipeline.sources.shapes.attributes import NAMES
from input_pipeline.sources.shapes.captions import attributes_of
from input_pipeline.text.vocabulary import Vocabulary


class ShapesOracle:
    """Reads shape, color, size, place and background; -1 where an image is not clear."""

    name = "shapes_oracle"
    dim = len(NAMES)

    def __init__(self) -> None:
        self.provenance: dict[str, Any] = {"oracle": "input_pipeline.sources.shapes.oracle"}

    def rows(self, images: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yields [B, 5] indices into the attributes' names, of each batch."""
        for batch in images:
            yield oracle.read(batch).astype(np.float32)


def asked_attributes(vocabulary: Vocabulary, codes: np.ndarray) -> np.ndarray:
    """Returns [n, 5] what captions [n, L] ask for; -1 where they do not say."""
    rows = (attributes_of(vocabulary.decode(row)) for row in codes)
    return np.array([[-1 if value is None else value for value in row] for row in rows])
