"""CLIPScore and R-precision by CLIP: how well images fit their captions.

ViT-B/32, as published. CLIPScore is 2.5 times the cosine of an image and "A photo depicts " with
its caption, 0 where it is negative; R-precision how often the own caption is nearest among 100.
Both stand beside real images' and, CLIPScore, those of captions that were exchanged. Needs
`--weights=FILE` with CLIP's, and tokenizer.json beside it.

References: Hessel et al., arXiv:2104.08718, eq. 1; Park et al. 2021, Benchmark for Compositional
Text-to-Image Synthesis (NeurIPS datasets), section 4.
"""

from __future__ import annotations

import numpy as np

from t2igan.metrics.engine.clip_matching import NETWORK, PROMPT, embeddings, require_texts
from t2igan.metrics.engine.context import Context
from t2igan.metrics.engine.matching import references_of, shuffled
from t2igan.metrics.engine.result import Estimate, Result
from t2igan.metrics.statistics.bootstrap import mean_interval
from t2igan.metrics.statistics.retrieval import OTHERS, r_precision

READERS = (NETWORK,)
HEADLINE = ("clip_score", "max")
SCALE = 2.5


def require(context: Context) -> None:
    """Raises a UserError where the images' captions are not known as they were written."""
    require_texts(context)


def measure(context: Context) -> list[Result]:
    """`clip_score` and `clip_r_precision`; higher is better."""
    about = context.provenance(NETWORK, "real", prompt=PROMPT)
    score = references_of(context, "clip_score", _score)
    score["shuffled"] = _mean(_scores(context, "fake", _partners(context)), context)
    hits = references_of(context, "clip_r_precision", _hits)
    hits["chance"] = Estimate(1 / (OTHERS + 1))
    about_hits = about | {"negative_captions": OTHERS}
    return [
        Result("clip_score", _score(context, "fake"), "higher", score, about),
        Result("clip_r_precision", _hits(context, "fake"), "higher", hits, about_hits),
    ]


def _partners(context: Context) -> np.ndarray:
    fake = context.image_set("fake")
    return np.arange(fake.count) if fake.partners is None else np.asarray(fake.partners)


def _scores(context: Context, population: str, exchange: np.ndarray | None = None) -> np.ndarray:
    images, texts = embeddings(context, population)
    if exchange is not None:
        texts = texts[shuffled(exchange)]
    return SCALE * np.maximum(np.sum(images * texts, axis=1), 0)


def _mean(values: np.ndarray, context: Context) -> Estimate:
    return Estimate(float(values.mean()), *mean_interval(values, context.seed))


def _score(context: Context, population: str) -> Estimate:
    return _mean(_scores(context, population), context)


def _hits(context: Context, population: str) -> Estimate:
    images, texts = embeddings(context, population)
    return _mean(r_precision(images, texts, context.seed, _partners(context)), context)
