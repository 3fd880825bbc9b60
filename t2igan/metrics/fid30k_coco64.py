"""FID at 64 x 64 on COCO as StyleGAN-T reports it, so that the numbers may stand in one table.

All 40,504 images of val2014, their largest center square resized to 64 by Lanczos; 30,000 fakes
for captions of theirs drawn at random; the Inception of 2015.

Reference: Sauer et al., StyleGAN-T, arXiv:2301.09515, section 5 (metric `fid30k_coco64`).
"""

from __future__ import annotations

import json
from typing import Any

from input_pipeline.errors import UserError
from t2igan.metrics.engine.context import Context
from t2igan.metrics.engine.frechet import distance, require_fakes
from t2igan.metrics.engine.result import Result

READERS = ("inception",)
HEADLINE = ("fid30k_coco64", "min")
REALS = 40_504
SIZE = 64


def require(context: Context) -> None:
    """Raises a UserError where the data set or the number of fakes is not the protocol's."""
    require_fakes(context, "fid30k_coco64")
    _require_data(context)


def measure(context: Context) -> list[Result]:
    """`fid30k_coco64`, lower is better."""
    return distance(context, "fid30k_coco64", "inception")


def _require_data(context: Context) -> None:
    count = context.image_set("real").count
    report = report_of(context)
    size = report.get("image_size")
    resize = " ".join(str(report.get(key, "")) for key in ("resize", "resampling")).strip()
    right = size == SIZE and resize == "center_crop lanczos"
    if not right or count != REALS:
        raise UserError(
            f"fid30k_coco64 is defined on all {REALS} images of COCO's val2014, cropped to the "
            f"centre and resized to {SIZE} by Lanczos; this split has {count} of {size} pixels, "
            f"resized as {resize}: prepare it with --resize=center_crop --resampling=lanczos, or "
            "take the metric fid30k"
        )


def report_of(context: Context) -> dict[str, Any]:
    """Returns what prepare wrote about the data set; empty where there is none."""
    if context.dataset is None:
        return {}
    return json.loads((context.dataset.path / "report.json").read_text(encoding="utf-8"))
