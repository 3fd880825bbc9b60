"""Recall of images by their captions among 1,000, by a matcher not trained with."""

from __future__ import annotations

import numpy as np

from t2igan.metrics.engine.context import Context
from t2igan.metrics.engine.matching import embeddings, matcher_of, references_of, require_captions
from t2igan.metrics.engine.result import Estimate, Result
from t2igan.metrics.statistics.bootstrap import mean_interval
from t2igan.metrics.statistics.retrieval import GALLERY, recall_at

READERS = ("lite0",)
HEADLINE = ("caption_recall_at_10", "max")
KS = (1, 5, 10)


def require(context: Context) -> None:
    """Raises a UserError where there is no matcher, or where the images have no captions."""
    require_captions(context)


def measure(context: Context) -> list[Result]:
    """`caption_recall_at_1`, `_5` and `_10`; higher is better."""
    count = len(_own(context))
    about = context.provenance(
        "lite0", "real", **matcher_of(context).provenance, gallery=min(GALLERY, count)
    )
    results = []
    for k in KS:
        name = f"caption_recall_at_{k}"

        def estimate(context: Context, population: str, k: int = k) -> Estimate:
            found = _found(context, population, k)
            return Estimate(float(found.mean()), *mean_interval(found, context.seed))

        references = references_of(context, name, estimate)
        references["chance"] = Estimate(k / min(GALLERY, count))
        results.append(Result(name, estimate(context, "fake"), "higher", references, about))
    return results


def _own(context: Context) -> np.ndarray:
    """Rows of the fakes with one for each real image: a gallery holds no image twice."""
    fake = context.image_set("fake")
    if fake.partners is None:
        return np.arange(fake.count)
    return np.sort(np.unique(fake.partners, return_index=True)[1])


def _found(context: Context, population: str, k: int) -> np.ndarray:
    images, texts = embeddings(context, population)
    rows = _own(context)
    return recall_at(texts[rows], images[rows], ks=(k,))[k]
