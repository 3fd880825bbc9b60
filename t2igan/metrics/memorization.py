"""Copying: generated images nearer to training images than new real images are.

And which are nearest: they are written side by side, to be looked at.

Reference: Meehan et al., arXiv:2004.05675 (a global form of its test for data copying).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from input_pipeline.errors import UserError
from t2igan.metrics.engine.context import Context
from t2igan.metrics.engine.result import Estimate, Result
from t2igan.metrics.statistics.bootstrap import interval, resampled_counts
from t2igan.metrics.statistics.neighbors import nearest, share_nearer

READERS = ("network",)
HEADLINE = ("copying_{network}", "min")
SHOWN = 16  # pairs in the image


def require(context: Context) -> None:
    """Raises a UserError where there are no images unseen in training to compare with."""
    context.image_set("train")
    if context.image_set("real").about.get("split", "").partition("[")[0] == "train":
        raise UserError("memorization needs real images unseen in training: give --split=test")


def measure(context: Context) -> list[Result]:
    """`copying_NETWORK`: 0.5 is no more than chance, 1 is copies only; lower is better."""
    name = f"copying_{context.network}"
    train = np.asarray(context.rows("train", context.network))
    held_out = nearest(context.rows("real", context.network), train)[0]
    distances, indices = nearest(context.rows("fake", context.network), train)
    references = {"real": Estimate(0.5)}
    if context.has("real_blurred"):
        references["blurred"] = context.reference(
            f"{name}/blurred",
            lambda: {
                name: _estimate(
                    context,
                    nearest(context.rows("real_blurred", context.network), train)[0],
                    held_out,
                )
            },
        )[name]
    about = context.provenance(context.network, "real", "train")
    if context.folder is not None:
        about["shown"] = str(_show(context, distances, indices))
    return [Result(name, _estimate(context, distances, held_out), "lower", references, about)]


def _estimate(context: Context, mine: np.ndarray, held_out: np.ndarray) -> Estimate:
    share = share_nearer(mine, held_out)
    again = [
        share_nearer(np.repeat(mine, counts), held_out)
        for counts in resampled_counts(len(mine), context.resamples, context.seed)
    ]
    details = {"median_distance": float(np.median(mine))}
    return Estimate(share, *interval(share, np.array(again)), details)


def _show(context: Context, distances: np.ndarray, indices: np.ndarray) -> Path:
    """Writes the fakes nearest to training, each above its nearest training image."""
    closest = np.argsort(distances, kind="stable")[:SHOWN]
    pairs = [
        context.image_set(name).at(rows)
        for name, rows in (("fake", closest), ("train", indices[closest]))
    ]
    step = context.about.get("step")
    path = Path(context.folder, f"memorization{'' if step is None else f'_{step:08d}'}.png")
    Image.fromarray(np.concatenate([np.concatenate(row, axis=1) for row in pairs])).save(path)
    return path
