"""The shares of generated images' variance that text and noise explain.

All noise: the text is ignored. All text: every caption has one image.
"""

from __future__ import annotations

import numpy as np

from input_pipeline.errors import UserError
from t2igan.metrics.engine.context import Context
from t2igan.metrics.engine.result import Estimate, Result
from t2igan.metrics.statistics.bootstrap import interval, resampled_counts
from t2igan.metrics.statistics.variance_shares import variance_shares

READERS = ("network",)
CAPTIONS, SAMPLES = 64, 8


def require(context: Context) -> None:
    """Raises a UserError where there is no model to draw several images of a caption with."""
    if context.generate is None:
        raise UserError("variance draws several images of a caption: it needs --workdir=RUN")


def measure(context: Context) -> list[Result]:
    """`text_variance_NETWORK` and `noise_variance_NETWORK`, shares that add to 1."""
    features = _features(context)
    shares = dict(zip(("text", "noise"), variance_shares(features), strict=True))
    again = [
        variance_shares(np.repeat(features, counts, axis=0))
        for counts in resampled_counts(len(features), context.resamples, context.seed)
    ]
    about = context.provenance(
        context.network, captions_drawn=len(features), pictures_a_caption=SAMPLES
    )
    return [
        Result(
            f"{name}_variance_{context.network}",
            Estimate(share, *interval(share, np.array([pair[i] for pair in again]))),
            "",
            {},
            about,
        )
        for i, (name, share) in enumerate(shares.items())
    ]


def _features(context: Context) -> np.ndarray:
    """[captions, samples, dim] features; sample k has the same noise for every caption."""
    fake = context.image_set("fake")
    # From all over the split: neighbors may be alike.
    chosen = np.linspace(0, fake.count - 1, min(CAPTIONS, fake.count)).astype(int)
    images = context.generate(
        fake.text(np.repeat(chosen, SAMPLES)), np.tile(np.arange(SAMPLES), len(chosen))
    )
    reader = context.readers[context.network]
    rows = np.concatenate(list(reader.rows([images])))
    return rows.reshape(len(chosen), SAMPLES, -1)
