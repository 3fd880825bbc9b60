"""R-precision: how often an image's caption beats 99 others', by a matcher not trained with.

With the matcher that a model was trained against, generated images score above real ones; the
real images' score beside it says what this matcher can tell.

Reference: AttnGAN, arXiv:1711.10485, section 4.1.
"""

from __future__ import annotations

from t2igan.metrics.engine.context import Context
from t2igan.metrics.engine.matching import hits, matcher_of, references_of, require_captions
from t2igan.metrics.engine.result import Estimate, Result
from t2igan.metrics.statistics.bootstrap import mean_interval
from t2igan.metrics.statistics.retrieval import OTHERS, folds

READERS = ("lite0",)
HEADLINE = ("r_precision", "max")


def require(context: Context) -> None:
    """Raises a UserError where there is no matcher, or where the images have no captions."""
    require_captions(context)


def measure(context: Context) -> list[Result]:
    """`r_precision`: mean over 10 folds, with its spread; higher is better."""
    about = context.provenance(
        "lite0", "real", **matcher_of(context).provenance, negative_captions=OTHERS
    )
    references = references_of(context, "r_precision", _estimate)
    return [Result("r_precision", _estimate(context, "fake"), "higher", references, about)]


def _estimate(context: Context, population: str) -> Estimate:
    found = hits(context, population)
    mean, spread = folds(found)
    interval = mean_interval(found, context.seed)
    return Estimate(mean, *interval, {"spread": spread})
