"""The image sets that metrics compare: real, blurred, generated, or from a folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from input_pipeline.dataset.open import Dataset
from input_pipeline.errors import UserError
from input_pipeline.stream.order import drawn_captions
from input_pipeline.stream.train import drawn_text

READ = 256

# {"codes": int32 [B, L]}, and "sentence": float16 [B, E] where the data set has embeddings.
Text = dict[str, np.ndarray]
# Captions and int [B] addresses of the noise -> uint8 [B, S, S, 3] images.
Generate = Callable[[Text, np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class ImageSet:
    """A set of images that can be gone through again, always in the same order.

    Attributes:
      name: real, fake, other, ...
      count: images in it.
      at: int [B] indices -> uint8 [B, S, S, 3] images.
      codes: int32 [count, L] a caption of each image, or None.
      sentences: int [B] indices -> float16 [B, E] embeddings of those captions, or None.
      texts: int [B] indices -> those captions as they were written, or None.
      partners: [count] the real image that the caption belongs to, as an index into the split.
      about: for the provenance, e.g. the split.
    """

    name: str
    count: int
    at: Callable[[np.ndarray], np.ndarray]
    codes: Any = None
    partners: Any = None
    about: dict[str, Any] = dataclasses.field(default_factory=dict)
    sentences: Callable[[np.ndarray], np.ndarray] | None = None
    texts: Callable[[np.ndarray], list[str]] | None = None

    def text(self, rows: np.ndarray) -> Text:
        """Returns the captions of some images, as a model takes them."""
        text = {"codes": self.codes[rows]}
        return text if self.sentences is None else text | {"sentence": self.sentences(rows)}

    def batches(self) -> Iterator[np.ndarray]:
        """Yields all images, in batches of which the last may be short."""
        for rows in blocks(self.count):
            yield self.at(np.arange(rows.start, rows.stop))


def of_split(dataset: Dataset, split: str, name: str, num: int = 0, seed: int = 0) -> ImageSet:
    """Real images of a split, each with one of its captions, drawn.

    Args:
      dataset: a prepared data set.
      split: its split.
      name: of the set.
      num: images to generate without replacement, beginning again once all are drawn; 0 takes each
        once, in the order of the split.
      seed: of the draw of images and captions.
    """
    source = dataset.source(split)
    rounds, indices = _draw(len(source), num or len(source), seed)
    codes = np.empty((len(indices), dataset.caption_length), np.int32)
    which = np.empty(len(indices), np.int64)
    for rows in blocks(len(indices)):
        records = source.__getitems__(indices[rows])
        counts = np.array([len(lines) for lines in records["captions"]])
        which[rows] = drawn_captions(seed, rounds[rows], indices[rows], counts)
        codes[rows] = drawn_text(records, which[rows])["codes"]

    def at(rows: np.ndarray) -> np.ndarray:
        return source.__getitems__(indices[rows])["image"]

    sentences = None
    if dataset.sentence_encoder is not None:
        with_sentences = dataset.source(split, True)

        def sentences(rows: np.ndarray) -> np.ndarray:  # read when drawn for: not held in memory
            return drawn_text(with_sentences.__getitems__(indices[rows]), which[rows])["sentence"]

    def texts(rows: np.ndarray) -> list[str]:
        written = source.written(indices[rows])
        if not all(written):
            raise UserError(
                f"{dataset.path} holds captions as codes alone: prepare it again to keep them as "
                "they were written"
            )
        return [lines[k] for lines, k in zip(written, which[rows].tolist(), strict=True)]

    about = {"split": split, "captions": f"one of each image, drawn with seed {seed}"}
    return ImageSet(name, len(indices), at, codes, indices, about, sentences, texts)


def _draw(count: int, num: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Round and index of `num` of `count` images; whole rounds and each draw in order."""
    rounds = np.arange(num) // count
    indices = np.arange(num) % count
    rest = num % count
    if rest:
        drawn = np.random.default_rng(seed).permutation(count)[:rest]
        indices[num - rest :] = np.sort(drawn)
    return rounds, indices


def blocks(count: int) -> Iterator[slice]:
    return (slice(start, min(start + READ, count)) for start in range(0, count, READ))


def generated(captions: ImageSet, generate: Generate, about: dict[str, Any]) -> ImageSet:
    """Returns images generated for the captions of another set, the i-th with noise i.

    Args:
      captions: what to draw for.
      generate: the model.
      about: what the model is, for the provenance.
    """

    def at(rows: np.ndarray) -> np.ndarray:
        return generate(captions.text(rows), rows)

    split = captions.about.get("split", captions.about.get("caption_split"))
    about = {"captions": captions.about["captions"], "caption_split": split, **about}
    return dataclasses.replace(captions, name="fake", at=at, about=about)


def blurred(pictures: ImageSet, name: str, radius: float = 1.0) -> ImageSet:
    """Returns the same images after a Gaussian blur of `radius` pixels at a width of 64."""

    def at(rows: np.ndarray) -> np.ndarray:
        return blur(pictures.at(rows), radius)

    return dataclasses.replace(pictures, name=name, at=at)


def blur(images: np.ndarray, radius: float) -> np.ndarray:
    """Returns uint8 [B, H, W, 3] images blurred by `radius` * W / 64 pixels."""
    kernel = ImageFilter.GaussianBlur(radius * images.shape[2] / 64)
    return np.stack([np.asarray(Image.fromarray(image).filter(kernel)) for image in images])
