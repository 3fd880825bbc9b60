"""Diversity: how much images of one caption differ, beside how much real images of one would.

The variance of generated images is parted into what captions and what noise explain. All noise:
the text is ignored. All text: every caption has one image. A caption does not say all: the
reference is the share of real images' variance that captions leave open, on photographs by a
ridge regression from captions to features, on rendered shapes by drawing each caption several
times. `diversity_*` is the one as a share of the other; 1 is as diverse as real images.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from input_pipeline.errors import UserError
from input_pipeline.sources import shapes
from input_pipeline.sources.shapes import spread
from t2igan.metrics.engine.context import Context
from t2igan.metrics.engine.image_sets import ImageSet
from t2igan.metrics.engine.result import Estimate, Result
from t2igan.metrics.features.shapes_oracle import asked_attributes
from t2igan.metrics.statistics.bootstrap import interval, resampled_counts
from t2igan.metrics.statistics.unexplained import unexplained_share
from t2igan.metrics.statistics.variance_shares import variance_shares

READERS = ("network",)
HEADLINE = ("diversity_{network}", "max")
CAPTIONS, SAMPLES = 64, 8
PIXELS = 16  # a side: what is finer is texture, which no caption speaks of
_LEAST_FOR_RIDGE = 100


def require(context: Context) -> None:
    """Raises a UserError where there is no model to draw several images of a caption with."""
    if context.generate is None:
        raise UserError("variance draws several images of a caption: it needs --workdir=RUN")


def measure(context: Context) -> list[Result]:
    """`text_variance_NETWORK`, `noise_variance_NETWORK` and `diversity_NETWORK`, the latter two
    of pixels too; on rendered shapes also `diversity_position`, `_size`, `_angle` and `_color`.
    """
    fake = context.image_set("fake")
    # From all over the split: neighbors may be alike.
    chosen = np.linspace(0, fake.count - 1, min(CAPTIONS, fake.count)).astype(int)
    images = context.generate(
        fake.text(np.repeat(chosen, SAMPLES)), np.tile(np.arange(SAMPLES), len(chosen))
    )
    drawn = _renderings(context, chosen)
    kinds: dict[str, _Features | _Pixels] = {
        context.network: _Features(context),
        "pixels": _Pixels(context),
    }
    results = [
        result
        for name, kind in kinds.items()
        for result in _shares(context, name, kind, images, drawn)
    ]
    return results if drawn is None else [*results, *_of_shapes(context, images, drawn)]


@dataclasses.dataclass
class _Features:
    """Rows of the evaluation's feature network."""

    context: Context

    def rows(self, images: np.ndarray) -> np.ndarray:
        return np.concatenate(list(self.context.readers[self.context.network].rows([images])))

    def real(self) -> np.ndarray:
        return self.context.rows("real", self.context.network)


@dataclasses.dataclass
class _Pixels:
    """Pixels of images averaged down to 16 a side."""

    context: Context

    def rows(self, images: np.ndarray) -> np.ndarray:
        count, size = images.shape[:2]
        times = max(1, size // PIXELS)
        squares = images.reshape(count, size // times, times, size // times, times, 3)
        return squares.mean(axis=(2, 4), dtype=np.float32).reshape(count, -1) / 255.0

    def real(self) -> np.ndarray:
        return np.concatenate([self.rows(batch) for batch in self.context.sets["real"].batches()])


def _shares(
    context: Context,
    name: str,
    kind: _Features | _Pixels,
    images: np.ndarray,
    drawn: np.ndarray | None,
) -> list[Result]:
    rows = kind.rows(images)
    rows = rows.reshape(-1, SAMPLES, rows.shape[-1])
    counts = list(resampled_counts(len(rows), context.resamples, context.seed))
    shares = np.array(variance_shares(rows))
    again = np.array([variance_shares(np.repeat(rows, count, axis=0)) for count in counts])
    about = context.provenance(
        context.network, captions_drawn=len(rows), pictures_a_caption=SAMPLES
    )
    known, how = _open_share(context, kind, drawn)
    if known:
        about["reference"] = how

    def result(metric: str, over: float, which: int, better: str = "", **known: float) -> Result:
        value, values = float(shares[which] / over), again[:, which] / over
        references = {label: Estimate(number) for label, number in known.items()}
        estimate = Estimate(value, *interval(value, values))
        return Result(f"{metric}_{name}", estimate, better, references, about)

    if not known:
        return [result("text_variance", 1.0, 0), result("noise_variance", 1.0, 1)]
    return [
        result("text_variance", 1.0, 0),
        result("noise_variance", 1.0, 1, real=known),
        result("diversity", known, 1, "higher", real=1.0),
    ]


def _open_share(
    context: Context, kind: _Features | _Pixels, drawn: np.ndarray | None
) -> tuple[float | None, str]:
    """The share of real images' variance that captions leave open, and how it was found."""
    if drawn is not None:
        rows = kind.rows(drawn)
        shares = variance_shares(rows.reshape(-1, SAMPLES, rows.shape[-1]))
        return shares[1], "each caption rendered several times"
    real = context.sets.get("real")
    if real is None or real.count < _LEAST_FOR_RIDGE:
        return None, ""
    share = unexplained_share(_caption_rows(real), kind.real(), context.seed)
    return share, "ridge regression from captions to real images, five folds"


def _caption_rows(real: ImageSet) -> np.ndarray:
    """[n, i] what a linear model can know of each caption: its embedding, or which words it has."""
    if real.sentences is not None:
        rows = np.asarray(real.sentences(np.arange(real.count)), np.float64)
        return rows if rows.ndim == 2 else rows[:, 0]  # without the tokens
    words = np.zeros((real.count, real.codes.max() + 1))
    words[np.arange(real.count)[:, None], real.codes] = 1.0
    return words[:, words.any(axis=0)]


def _renderings(context: Context, chosen: np.ndarray) -> np.ndarray | None:
    """Images rendered for the captions as often as generated; None where these are no shapes."""
    size = context.dataset.image_size if context.dataset else 0
    low, high = shapes.IMAGE_SIZES
    if not low <= size <= high:
        return None
    asked = asked_attributes(context.dataset.vocabulary, context.image_set("fake").codes[chosen])
    if (asked[:, :2] < 0).any():  # every caption of shapes names shape and color
        return None
    return spread.renderings(asked, SAMPLES, size, context.seed)


def _of_shapes(context: Context, images: np.ndarray, drawn: np.ndarray) -> list[Result]:
    """How far the objects of one caption differ, as a share of the renderer's."""
    about = context.provenance(None, captions_drawn=len(images) // SAMPLES)
    generated, rendered = (spread.within(each, SAMPLES) for each in (images, drawn))
    return [
        Result(
            f"diversity_{name}",
            Estimate(generated[name] / rendered[name]),
            "higher",
            {"real": Estimate(1.0)},
            about,
        )
        for name in generated
    ]
