"""FID of 30,000 generated images against a whole split: the protocol of the CUB tables.

All real images of the split, 30,000 fakes for its captions (each image's captions in turn),
the Inception of 2015 at 299 x 299. Papers differ in the reference: some take the train split; this
is the split that `--split` names, and the result says which.

References: Heusel et al., arXiv:1706.08500; the 30,000 of AttnGAN, arXiv:1711.10485, section 4.
"""

from __future__ import annotations

from t2igan.metrics.engine.context import Context
from t2igan.metrics.engine.frechet import distance, require_fakes
from t2igan.metrics.engine.result import Result

READERS = ("inception",)
HEADLINE = ("fid30k", "min")


def require(context: Context) -> None:
    """Raises a UserError where there is another number of fakes."""
    require_fakes(context, "fid30k")


def measure(context: Context) -> list[Result]:
    """`fid30k`, lower is better."""
    return distance(context, "fid30k", "inception")
